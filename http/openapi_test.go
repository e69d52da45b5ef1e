package http

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// openapi is one of the served documents. Its parts are found by their place, and
// schemas are compiled in place, so that their $refs mean the same as to a reader.
type openapi struct {
	name     string
	root     map[string]any
	mu       sync.Mutex
	compiler *jsonschema.Compiler
}

var openapis = sync.OnceValue(func() map[string]*openapi {
	all := map[string]*openapi{}
	for _, name := range []string{"hostup", "payway", "generic"} {
		text, err := fs.ReadFile(documentation, "openapi/"+name+".json")
		if err != nil {
			panic(err)
		}
		root, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			panic(fmt.Errorf("%s.json: %w", name, err))
		}
		o := &openapi{name: name, root: root.(map[string]any), compiler: jsonschema.NewCompiler()}
		o.compiler.AssertFormat()
		if err := o.compiler.AddResource("konto:"+o.name, root); err != nil {
			panic(err)
		}
		all[name] = o
	}
	return all
})

// openapiOf returns the document that a path belongs to.
func openapiOf(path string) *openapi {
	for _, o := range openapis() {
		if _, ok := o.node().get("paths", path); ok {
			return o
		}
	}
	return openapis()[map[string]string{
		"hostup": "hostup", "payway.v1": "payway", "payway.v0": "payway", "oauth": "payway", "generic": "generic",
	}[contractOf(path).name]]
}

// node is a part of a document.
type node struct {
	*openapi
	at    string // JSON pointer
	value any
}

func (o *openapi) node() node { return node{openapi: o, value: o.root} }

// get returns a part by the names of members or by indexes, and follows references.
func (n node) get(names ...string) (node, bool) {
	for _, name := range names {
		child, ok := n.members()[name]
		if list, listed := n.value.([]any); listed {
			i, err := strconv.Atoi(name)
			if ok = err == nil && i < len(list); ok {
				child = list[i]
			}
		}
		if !ok {
			return node{}, false
		}
		n = node{n.openapi, n.at + "/" + pointerEscape.Replace(name), child}
		if ref, ok := n.ref(); ok {
			if n, ok = n.node().get(ref...); !ok {
				return node{}, false
			}
		}
	}
	return n, true
}

// ref returns the target of a node that is only a reference. A schema is not one,
// because it may have other members besides its $ref.
func (n node) ref() ([]string, bool) {
	target := n.text("$ref")
	if target == "" || strings.HasPrefix(target, "#/components/schemas/") {
		return nil, false
	}
	return strings.Split(strings.TrimPrefix(target, "#/"), "/"), true
}

func (n node) members() map[string]any {
	members, _ := n.value.(map[string]any)
	return members
}

func (n node) text(name string) string {
	value, _ := n.members()[name].(string)
	return value
}

// validate checks a value against the schema at the node.
func (n node) validate(value any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	schema, err := n.compiler.Compile("konto:" + n.name + "#" + (&url.URL{Fragment: n.at}).EscapedFragment())
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// validateText is validate for a text in a header or a query, which may mean a
// number.
func (n node) validateText(text string) error {
	err := n.validate(text)
	if number, bad := strconv.ParseInt(text, 10, 64); err != nil && bad == nil {
		return n.validate(number)
	}
	return err
}

// operations visits every operation of the document.
func (o *openapi) operations(visit func(method, path string, operation node)) {
	paths, _ := o.node().get("paths")
	for path := range paths.members() {
		item, _ := paths.get(path)
		for method := range item.members() {
			operation, _ := item.get(method)
			visit(strings.ToUpper(method), path, operation)
		}
	}
}

func TestEveryRouteIsDocumentedAndEveryOperationRouted(t *testing.T) {
	routed := map[string]bool{"GET /healthz": true}
	for _, r := range routes() {
		routed[r.method+" "+r.path] = true
	}
	ids := map[string]bool{}
	for name, o := range openapis() {
		o.operations(func(method, path string, operation node) {
			if !routed[method+" "+path] {
				t.Errorf("%s documents %s %s, which has no route", name, method, path)
			}
			delete(routed, method+" "+path)
			if id := name + " " + operation.text("operationId"); ids[id] {
				t.Errorf("%s is the id of two operations", id)
			} else {
				ids[id] = true
			}
		})
	}
	for route := range routed {
		t.Errorf("%s is in no document", route)
	}
}

// TestReferencesAndExamplesOfOpenAPIDocumentsAreValid checks that every $ref has a
// target and that every example matches its schema.
func TestReferencesAndExamplesOfOpenAPIDocumentsAreValid(t *testing.T) {
	for name, o := range openapis() {
		seen := 0
		o.node().walk(func(n node) {
			if target := n.text("$ref"); target != "" {
				if _, ok := o.node().get(strings.Split(strings.TrimPrefix(target, "#/"), "/")...); !ok {
					t.Errorf("%s%s refers to %s, which is not there", name, n.at, target)
				}
				return
			}
			schema, ok := n.get("schema")
			if !ok {
				return
			}
			for _, example := range n.examples() {
				seen++
				if err := schema.validate(example); err != nil {
					t.Errorf("%s%s: its example: %v", name, n.at, err)
				}
			}
		})
		if seen == 0 {
			t.Errorf("%s has no examples", name)
		}
	}
}

// examples returns the examples of a schema.
func (n node) examples() (values []any) {
	if example, ok := n.get("example"); ok {
		values = append(values, example.value)
	}
	examples, _ := n.get("examples")
	for name := range examples.members() {
		example, _ := examples.get(name, "value")
		values = append(values, example.value)
	}
	return values
}

func (n node) walk(visit func(node)) {
	switch value := n.value.(type) {
	case map[string]any:
		visit(n)
		for name, child := range value {
			node{n.openapi, n.at + "/" + pointerEscape.Replace(name), child}.walk(visit)
		}
	case []any:
		for i, child := range value {
			node{n.openapi, n.at + "/" + strconv.Itoa(i), child}.walk(visit)
		}
	}
}

// TestRouterAllowsTheDocumentedMethods uses the methods and paths as a tool does that
// reads a document.
func TestRouterAllowsTheDocumentedMethods(t *testing.T) {
	router := New(Config{}).(*chi.Mux)
	for _, o := range openapis() {
		o.operations(func(method, path string, _ node) {
			if !router.Match(chi.NewRouteContext(), method, path) {
				t.Errorf("no handler for %s %s", method, path)
			}
			if router.Match(chi.NewRouteContext(), http.MethodHead, path) != router.Match(chi.NewRouteContext(), http.MethodGet, path) {
				t.Errorf("%s takes one of GET and HEAD", path)
			}
		})
	}
}
