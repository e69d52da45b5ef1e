package schema_test

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"konto/events/schema"
)

// part finds a part of the AsyncAPI document, through references.
func part(t *testing.T, names ...string) any {
	t.Helper()
	var v any = value(t, schema.AsyncAPI())
	root := v
	for _, name := range names {
		members, _ := v.(map[string]any)
		var ok bool
		if v, ok = members[name]; !ok {
			t.Fatalf("the document has no %s: %q is missing", strings.Join(names, "/"), name)
		}
		v = followed(t, root, v)
	}
	return v
}

// followed is what a reference refers to, or the value itself.
func followed(t *testing.T, root, v any) any {
	t.Helper()
	members, _ := v.(map[string]any)
	target, ok := members["$ref"].(string)
	if !ok {
		return v
	}
	to := root
	for _, name := range strings.Split(strings.TrimPrefix(target, "#/"), "/") {
		if to, ok = to.(map[string]any)[name]; !ok {
			t.Fatalf("%s refers to nothing", target)
		}
	}
	return followed(t, root, to)
}

// schemaAt is a schema of the document, in place.
func schemaAt(t *testing.T, names ...string) *jsonschema.Schema {
	t.Helper()
	return compile(t, host+"/asyncapi.json#/"+strings.Join(names, "/"), value(t, schema.AsyncAPI()))
}

func TestPublishedMessagesFitAsyncAPI(t *testing.T) {
	for file, m := range published(t) {
		name := typeOf(file)
		short, _, _ := strings.Cut(name, ".")
		address := part(t, "channels", short, "address").(string)
		if got := strings.Replace(address, "{account}", "01HXA3B4C5D6E7F8G9H0J1K2M3", 1); got != m.Subject {
			t.Errorf("%s is published on %s, not %s", file, m.Subject, got)
		}
		if err := schemaAt(t, "components", "schemas", name).Validate(value(t, m.Data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		headers, promised := map[string]any{}, schemaAt(t, "components", "messages", name, "headers")
		for _, h := range m.Headers {
			headers[h[0]] = h[1]
		}
		if err := promised.Validate(headers); err != nil {
			t.Errorf("%s: its headers: %v", file, err)
		}
		described := part(t, "components", "schemas", "Attributes", "properties").(map[string]any)
		for header, was := range headers {
			if described[header] == nil {
				t.Errorf("%s: header %s is not described", file, header)
			}
			delete(headers, header)
			if promised.Validate(headers) == nil {
				t.Errorf("%s may lack header %s", file, header)
			}
			headers[header] = was
		}
		if headers["ce-type"] = "konto.account.Other.v1"; promised.Validate(headers) == nil {
			t.Errorf("%s may be of another type", file)
		}
		message := part(t, "channels", short, "messages", name).(map[string]any)
		if want := part(t, "components", "messages", name).(map[string]any); message["name"] != want["name"] {
			t.Errorf("channel %s carries %v", short, message["name"])
		}
		if action := part(t, "operations", "send"+short, "action"); action != "send" {
			t.Errorf("konto does not send %s, but %s", short, action)
		}
	}
}

func TestAsyncAPIReferencesExist(t *testing.T) {
	root, refs := value(t, schema.AsyncAPI()), 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["$ref"] != nil {
				refs++
				followed(t, root, v)
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	if walk(root); refs < 50 {
		t.Errorf("only %d references", refs)
	}
}

func TestAsyncAPIExamplesFit(t *testing.T) {
	for _, s := range schema.All() {
		for _, example := range part(t, "components", "messages", s.Name, "examples").([]any) {
			example := example.(map[string]any)
			if err := schemaAt(t, "components", "messages", s.Name, "headers").Validate(example["headers"]); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
			if err := schemaAt(t, "components", "schemas", s.Name).Validate(example["payload"]); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
		for _, example := range value(t, s.Document).(map[string]any)["examples"].([]any) {
			if err := schemas(t)[s.Name].Validate(example); err != nil {
				t.Errorf("%s: its example: %v", s.Name, err)
			}
		}
	}
}
