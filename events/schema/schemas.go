package schema

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/jsonschema-go/jsonschema"

	"konto/events"
)

// Schema is what consumers are promised of one version of an event.
type Schema struct {
	Name     string // EmailChanged.v1
	Document []byte // JSON Schema of the event's data, draft 2020-12

	about   string
	message events.Message // an example
	schema  *jsonschema.Schema
}

// Path is where konto serves a schema, and its $id.
func (s Schema) Path() string { return "/schemas/" + s.Name + ".json" }

// All gives the schema of every event that is published. It panics when
// one cannot be made, which is a mistake made at build time.
var All = sync.OnceValue(func() []Schema {
	all := make([]Schema, 0, len(announced))
	d := newDescriber()
	for _, a := range announced {
		name, message, err := publish(a.example)
		if err != nil {
			panic(err)
		}
		s := Schema{Name: name, about: a.about, message: message}
		s.schema = d.describe(reflect.TypeOf(events.Published(a.example)))
		s.schema.Examples = []any{jsontext.Value(message.Data)}
		s.Document = document(served{"https://json-schema.org/draft/2020-12/schema", s.Path(), name, a.about, document(s.schema)})
		all = append(all, s)
	}
	for row := range members {
		if !d.used[row] {
			panic("nothing that is published has the member " + row)
		}
	}
	return all
})

// served is a schema as it stands for itself, its name first.
type served struct {
	Dialect string         `json:"$schema"`
	ID      string         `json:"$id"` // relative to wherever konto is
	Title   string         `json:"title"`
	About   string         `json:"description"`
	Rest    jsontext.Value `json:",embed"`
}

// document writes what is served.
func document(of any) []byte {
	text, err := json.Marshal(of, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		panic(fmt.Errorf("write %T: %w", of, err))
	}
	return text
}
