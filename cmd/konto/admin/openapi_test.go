package admin

import (
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	kontohttp "konto/http"
)

const document = "../../../http/openapi/admin.json"

func TestEveryRouteIsDocumentedAndEveryOperationRouted(t *testing.T) {
	root := read(t)
	routed := map[string]kontohttp.Route{}
	for _, r := range (&Konto{}).API().Routes {
		routed[r.Method+" "+kontohttp.AdminPrefix+r.Path] = r
	}
	for path, item := range root["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			name := strings.ToUpper(method) + " " + path
			route, ok := routed[name]
			if !ok {
				t.Errorf("%s has no route", name)
			}
			delete(routed, name)
			if said := operation.(map[string]any)["description"].(string); !strings.HasPrefix(said, "Role `"+route.Role+"`.") {
				t.Errorf("%s needs the role %s; the document says %s", name, route.Role, said)
			}
		}
	}
	for name := range routed {
		t.Errorf("%s is not documented", name)
	}
}

func TestReferencesAndExamplesOfTheDocumentAreValid(t *testing.T) {
	root := read(t)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("konto:admin", root); err != nil {
		t.Fatal(err)
	}
	examples := 0
	var walk func(at string, v any)
	walk = func(at string, v any) {
		members, _ := v.(map[string]any)
		if target, ok := members["$ref"].(string); ok {
			var found any = root
			for name := range strings.SplitSeq(strings.TrimPrefix(target, "#/"), "/") {
				next, _ := found.(map[string]any)
				found = next[name]
			}
			if found == nil {
				t.Errorf("%s refers to %s, which is not there", at, target)
			}
		}
		given, _ := members["examples"].(map[string]any)
		for _, example := range given {
			examples++
			schema, err := compiler.Compile("konto:admin#" + at + "/schema")
			if err == nil {
				err = schema.Validate(example.(map[string]any)["value"])
			}
			if err != nil {
				t.Errorf("%s: %v", at, err)
			}
		}
		for name, child := range members {
			walk(at+"/"+strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name), child)
		}
		list, _ := v.([]any)
		for _, child := range list {
			walk(at, child)
		}
	}
	walk("", root)
	if examples == 0 {
		t.Error("the document has no examples")
	}
}

func read(t *testing.T) map[string]any {
	t.Helper()
	file, err := os.Open(document)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	root, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	return root.(map[string]any)
}
