package schema_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"konto/events"
	"konto/events/schema"
)

// host stands for wherever konto is.
const host = "https://konto.example"

// compile reads a schema, or a part of a document, as a consumer does who
// asserts formats, too.
func compile(t *testing.T, at string, document any) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	file, _, _ := strings.Cut(at, "#")
	if err := compiler.AddResource(file, document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile(at)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func value(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func schemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	all := map[string]*jsonschema.Schema{}
	for _, s := range schema.All() {
		all[s.Name] = compile(t, host+s.Path(), value(t, s.Document))
	}
	return all
}

// published gives every stored example of an account's events as consumers get it.
func published(t *testing.T) map[string]events.Message {
	t.Helper()
	files, err := filepath.Glob("../testdata/*.v*.json")
	if err != nil {
		t.Fatal(err)
	}
	account, id := ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2M3"), ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2M4")
	all := map[string]events.Message{}
	for _, file := range files {
		parts := strings.Split(filepath.Base(file), ".")
		name := parts[0] + "." + parts[1]
		if neverPublished(name) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, ok, err := events.Publish(events.Event{
			ID: id, Stream: events.AccountStream(account), Version: 7, Position: 4711,
			Time: time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC), Type: name, Data: data,
		})
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", file, ok, err)
		}
		all[filepath.Base(file)] = m
	}
	if len(all) < len(schema.All()) {
		t.Fatalf("%d golden files of %d types", len(all), len(schema.All()))
	}
	return all
}

// typeOf names the type that an example is of.
func typeOf(file string) string {
	parts := strings.Split(file, ".")
	return parts[0] + "." + parts[1]
}

// neverPublished tells the types that are no account's.
func neverPublished(name string) bool {
	for _, prefix := range []string{"KeyIssued.", "SessionOpened.", "CredentialRevoked.", "ThirdParty"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func TestEveryAccountEventHasASchema(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../codec.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Type") {
			if name := strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`); !neverPublished(name) {
				want = append(want, name)
			}
		}
		return true
	})
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(schemas(t))); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("schemas %v\ntypes   %v", got, want)
	}
}

func TestPublishedEventsFitTheirSchemas(t *testing.T) {
	all := schemas(t)
	for file, m := range published(t) {
		if err := all[typeOf(file)].Validate(value(t, m.Data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// A schema is open, so it would let secrets pass. Closed, it must describe
// everything that leaves konto.
func TestEveryPublishedMemberIsDescribed(t *testing.T) {
	closed := map[string]*jsonschema.Schema{}
	for _, s := range schema.All() {
		document := value(t, s.Document)
		shut(document)
		closed[s.Name] = compile(t, host+s.Path(), document)
	}
	for file, m := range published(t) {
		if err := closed[typeOf(file)].Validate(value(t, m.Data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if closed["PasswordChanged.v1"].Validate(map[string]any{"hash": "x"}) == nil {
		t.Error("a closed schema lets unknown members pass")
	}
}

// shut closes every object of a schema.
func shut(part any) {
	if of, ok := part.(map[string]any); ok {
		if of["type"] == "object" || of["properties"] != nil {
			of["additionalProperties"] = false
		}
		properties, _ := of["properties"].(map[string]any)
		for _, property := range properties {
			shut(property)
		}
	}
}

func TestOtherTypesDoNotFit(t *testing.T) {
	all, mutants := schemas(t), 0
	for file, m := range published(t) {
		promised := all[typeOf(file)]
		whole := value(t, m.Data)
		each(whole, "", func(at string, in map[string]any, name string) {
			was := in[name]
			in[name] = other(was)
			if mutants++; promised.Validate(whole) == nil {
				t.Errorf("%s%s may be of another type", file, at)
			}
			in[name] = was
		})
		whole.(map[string]any)["memberOfANewerKonto"] = true
		if err := promised.Validate(whole); err != nil {
			t.Errorf("%s with a member of a newer konto: %v", file, err)
		}
		if promised.Validate([]any{}) == nil {
			t.Errorf("%s may be a list", file)
		}
	}
	if mutants < 50 {
		t.Errorf("only %d mutants were tried", mutants)
	}
}

// each visits every member of a value, the inner ones too.
func each(v any, at string, visit func(at string, in map[string]any, name string)) {
	members, _ := v.(map[string]any)
	for name, member := range members {
		visit(at+"/"+name, members, name)
		each(member, at+"/"+name, visit)
	}
}

// other is a value of another type.
func other(v any) any {
	switch v.(type) {
	case bool, map[string]any:
		return "text"
	}
	return true
}

func TestSchemasRefuseWrongEvents(t *testing.T) {
	all := schemas(t)
	const id = "01KJMN8RV0Z5X7Q2W9E4T6Y8AB"
	for about, test := range map[string]struct {
		name, data string
		fits       bool
	}{
		"no address before":         {"EmailChanged.v1", `{"newEmail":"a@b.se","how":"direct"}`, false},
		"no address after":          {"EmailChanged.v1", `{"previousEmail":"a@b.se","how":"direct"}`, false},
		"a removed address":         {"EmailChanged.v1", `{"previousEmail":"a@b.se","newEmail":null,"how":"direct"}`, false},
		"no way of change":          {"EmailChanged.v1", `{"previousEmail":"a@b.se","newEmail":"c@d.se"}`, false},
		"another way of change":     {"EmailChanged.v1", `{"previousEmail":"a@b.se","newEmail":"c@d.se","how":"guessed"}`, false},
		"no address":                {"EmailChanged.v1", `{"previousEmail":"a@b.se","newEmail":"c@d","how":"direct"}`, false},
		"unusual addresses":         {"EmailChanged.v1", `{"previousEmail":"a..b@c.se","newEmail":"\"å\"@ö.example","how":"verified"}`, true},
		"no Payway id":              {"AccountOpened.v1", `{"email":"a@b.se"}`, false},
		"another Payway id":         {"AccountOpened.v1", `{"email":"a@b.se","paywayId":"5F1D"}`, false},
		"a request without a name":  {"EmailChangeRequested.v1", `{"newEmail":"a@b.se","expiresAt":"2026-03-01T12:15:00Z"}`, false},
		"a request without an end":  {"EmailChangeRequested.v1", `{"newEmail":"a@b.se","request":"` + id + `"}`, false},
		"an end that is no time":    {"EmailChangeRequested.v1", `{"newEmail":"a@b.se","request":"` + id + `","expiresAt":"soon"}`, false},
		"a name that is no ULID":    {"EmailChangeAttemptFailed.v1", `{"request":"01KJMN8RV0Z5X7Q2W9E4T6Y8AU"}`, false},
		"a cancelled nothing":       {"EmailChangeCancelled.v1", `{}`, false},
		"a removed field":           {"ProfileUpdated.v1", `{"firstName":null,"accountType":null,"countryCode":null,"registrationIdentifier":null}`, true},
		"a field that is empty":     {"ProfileUpdated.v1", `{"firstName":""}`, false},
		"a removed address member":  {"ProfileUpdated.v1", `{"address":{"countryCode":null}}`, true},
		"a removed postal address":  {"ProfileUpdated.v1", `{"address":null}`, false},
		"another type of account":   {"ProfileUpdated.v1", `{"accountType":"robot"}`, false},
		"a country by its name":     {"ProfileUpdated.v1", `{"countryCode":"Sweden"}`, false},
		"an identifier of no type":  {"ProfileUpdated.v1", `{"registrationIdentifier":{"value":"1","countryCode":"SE"}}`, false},
		"a date that is none":       {"ProfileUpdated.v1", `{"birthDate":"1985-02-30"}`, false},
		"fewer domains than none":   {"FactsRecorded.v1", `{"activeDomains":-1}`, false},
		"half a domain":             {"FactsRecorded.v1", `{"seNuDomains":0.5}`, false},
		"a number that is unknown":  {"FactsRecorded.v1", `{"activeDomains":null}`, false},
		"an order that has gone":    {"FactsRecorded.v1", `{"pendingOrder":null}`, true},
		"a verification unanswered": {"FactsRecorded.v1", `{"verified":null}`, false},
	} {
		if err := all[test.name].Validate(value(t, []byte(test.data))); (err == nil) != test.fits {
			t.Errorf("%s: %v", about, err)
		}
	}
}
