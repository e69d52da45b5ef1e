package events_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/events"
)

// golden reads testdata's stored payloads: NAME.vN.json, or NAME.vN.CASE.json
// where one example cannot hold every member. They are only ever added to: what
// was stored once must stay readable.
func golden(t testing.TB) map[string][][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.v*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	byType := map[string][][]byte{}
	for _, file := range files {
		parts := strings.Split(filepath.Base(file), ".")
		name := parts[0] + "." + parts[1]
		byType[name] = append(byType[name], compact(t, file))
	}
	return byType
}

func compact(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	value := jsontext.Value(text)
	if err := value.Compact(); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return value
}

func TestStoredBytesKeepTheirMeaning(t *testing.T) {
	for name, examples := range golden(t) {
		for _, stored := range examples {
			p, err := events.Decode(name, stored)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			again, data, err := events.Encode(p)
			if err != nil || again != name || string(data) != string(stored) {
				t.Errorf("stored  %s %s\nencoded %s %s\nerror   %v", name, stored, again, data, err)
			}
		}
	}
}

func TestEveryTypeHasItsGoldenFile(t *testing.T) {
	constants, payloads := declared(t)
	files := slices.Sorted(maps.Keys(golden(t)))
	if !slices.Equal(constants, files) {
		t.Errorf("types  %v\ngolden %v", constants, files)
	}
	for _, payload := range payloads {
		if payload == "Shredded" { // stands for bytes that nobody can read, and has none of its own
			continue
		}
		if !slices.ContainsFunc(constants, func(name string) bool { return strings.HasPrefix(name, payload+".v") }) {
			t.Errorf("payload %s has no type", payload)
		}
	}
}

// declared gives the values of this package's Type constants and the names of
// its payloads, as the source says them.
func declared(t *testing.T) (constants, payloads []string) {
	t.Helper()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if source == "codec.go" && strings.HasPrefix(n.Names[0].Name, "Type") {
					constants = append(constants, strings.Trim(n.Values[0].(*ast.BasicLit).Value, `"`))
				}
			case *ast.FuncDecl:
				if n.Name.Name == "storedName" {
					payloads = append(payloads, n.Recv.List[0].Type.(*ast.Ident).Name)
				}
			}
			return true
		})
	}
	if len(constants) == 0 || len(payloads) == 0 {
		t.Fatal("no declarations found")
	}
	slices.Sort(constants)
	return constants, payloads
}

func TestGoldenFilesHoldEveryMember(t *testing.T) {
	for name, examples := range golden(t) {
		seen := map[string]bool{}
		for _, stored := range examples {
			p, err := events.Decode(name, stored)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			markSet(reflect.ValueOf(p), name, seen)
		}
		for member, set := range seen {
			// An opening's profile is a ProfileUpdated, which has golden files of its own.
			if !set && !strings.HasPrefix(member, events.TypeAccountOpened+".Profile.") {
				t.Errorf("no golden file holds %s", member)
			}
		}
	}
}

// markSet notes for each member below v whether it is set.
func markSet(v reflect.Value, path string, seen map[string]bool) {
	_, isTime := v.Interface().(time.Time)
	if v.Kind() != reflect.Struct || isTime {
		seen[path] = seen[path] || !v.IsZero()
		return
	}
	if made := v.FieldByName("Made"); made.IsValid() {
		seen[path] = seen[path] || made.Bool()
		return
	}
	for i := range v.NumField() {
		markSet(v.Field(i), path+"."+v.Type().Field(i).Name, seen)
	}
}

func TestMetadataKeepsItsStoredForm(t *testing.T) {
	stored := compact(t, "testdata/metadata.json")
	var meta events.Metadata
	if err := json.Unmarshal(stored, &meta, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	markSet(reflect.ValueOf(meta), "Metadata", seen)
	for member, set := range seen {
		if !set {
			t.Errorf("the golden file does not hold %s", member)
		}
	}
	if data, err := json.Marshal(meta); err != nil || string(data) != string(stored) {
		t.Errorf("encoded %s, %v", data, err)
	}
}

// An account's types are those that its fold knows.
func TestAccountTypesAreAll(t *testing.T) {
	var known []string
	for name, examples := range golden(t) {
		p, err := events.Decode(name, examples[0])
		if err != nil {
			t.Fatal(err)
		}
		var a events.Account
		if a.Apply(events.Event{Version: 1}, p); a.Version == 1 {
			bare, _, _ := strings.Cut(name, ".")
			known = append(known, bare)
		}
	}
	slices.Sort(known)
	if listed := slices.Sorted(slices.Values(events.AccountTypes())); !slices.Equal(listed, slices.Compact(known)) {
		t.Errorf("listed %v\nknown  %v", listed, known)
	}
}

func TestPayloadErrorsNameTypeAndPosition(t *testing.T) {
	tests := map[string]struct {
		name, data string
		unknown    bool
	}{
		"a type of a newer konto":   {"AccountMerged.v1", `{}`, true},
		"a newer version":           {"EmailChanged.v2", `{}`, true},
		"a member of a newer konto": {events.TypeEmailChangeCancelled, `{"newEmail":"a@b.se","reason":"x"}`, false},
		"a member inside a change":  {events.TypeProfileUpdated, `{"registrationIdentifier":{"value":"1","kind":"x"}}`, false},
		"a member of the address":   {events.TypeProfileUpdated, `{"address":{"planet":"Mars"}}`, false},
		"a member twice":            {events.TypeEmailChangeCancelled, `{"newEmail":"a@b.se","newEmail":"c@d.se"}`, false},
		"a member in other case":    {events.TypeEmailChangeCancelled, `{"newemail":"a@b.se"}`, false},
		"another kind of value":     {events.TypeEmailChangeCancelled, `{"newEmail":7}`, false},
		"trailing data":             {events.TypeAccountErased, `{}{}`, false},
		"no JSON":                   {events.TypeAccountErased, ``, false},
	}
	for about, test := range tests {
		t.Run(about, func(t *testing.T) {
			_, err := events.Event{Type: test.name, Position: 4711, Data: []byte(test.data)}.Payload()
			if err == nil {
				t.Fatal("accepted")
			}
			if want := fmt.Sprintf("event %s at position 4711", test.name); !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
			var decodeError *events.DecodeError
			if !errors.As(err, &decodeError) || decodeError.Type != test.name || decodeError.Position != 4711 {
				t.Errorf("%#v", err)
			}
			if errors.Is(err, events.ErrUnknownType) != test.unknown {
				t.Errorf("is ErrUnknownType: %v", !test.unknown)
			}
		})
	}
}

func TestEncodeRefusesPayloadsWithoutAName(t *testing.T) {
	if _, _, err := events.Encode(nil); !errors.Is(err, events.ErrUnknownType) {
		t.Errorf("%v", err)
	}
	// A pointer would be stored, but no switch on payloads would know it.
	if _, _, err := events.Encode(&events.EmailChanged{}); !errors.Is(err, events.ErrUnknownType) {
		t.Errorf("%v", err)
	}
}

func TestOnlyEventsThatEndAStreamAreNotEncrypted(t *testing.T) {
	for name := range golden(t) {
		ends := name == events.TypeAccountErased || name == events.TypeCredentialRevoked || name == events.TypeThirdPartyRemoved
		if events.Sealed(name) == ends {
			t.Errorf("Sealed(%s) = %v", name, ends)
		}
	}
	if !events.Sealed("AccountMerged.v1") {
		t.Error("a type of a newer konto is taken for clear")
	}
}

// FuzzDecode holds that what can be decoded has one stored form.
func FuzzDecode(f *testing.F) {
	for name, examples := range golden(f) {
		for _, stored := range examples {
			f.Add(name, stored)
		}
		f.Add(name, []byte(`{"newEmail":null,"address":{"city":""}}`))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		p, err := events.Decode(name, data)
		if err != nil {
			return
		}
		again, first, err := events.Encode(p)
		if err != nil || again != name {
			t.Fatalf("decoded %s, encoded %s, %v", name, again, err)
		}
		if p, err = events.Decode(name, first); err != nil {
			t.Fatalf("cannot read %s: %v", first, err)
		}
		if _, second, err := events.Encode(p); err != nil || string(second) != string(first) {
			t.Fatalf("first %s, then %s, %v", first, second, err)
		}
	})
}

func TestDecodeErrorsDoNotQuoteThePayload(t *testing.T) {
	const canary = "canary-7f3a"
	for name, data := range map[string]string{
		"value of another type": `{"newEmail":"a@b.se","codeHash":"AA==","expiresAt":"` + canary + `"}`,
		"truncated":             `{"newEmail":"` + canary,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := events.Decode(events.TypeEmailChangeRequested, []byte(data))
			if !errors.Is(err, events.ErrMisfit) {
				t.Fatalf("got %v, want ErrMisfit", err)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error quotes the payload: %v", err)
			}
		})
	}
}
