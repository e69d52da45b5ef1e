package schema

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// Schema describes one version of an event for consumers.
type Schema struct {
	Name     string // EmailChanged.v1
	Document []byte // JSON Schema of the event's data, draft 2020-12

	about   string
	message events.Message // an example
	schema  *jsonschema.Schema
}

// Path is the path at which konto serves the schema, and its $id.
func (s Schema) Path() string { return "/schemas/" + s.Name + ".json" }

// All returns the schema of every event that is published. It panics if a schema cannot be made,
// which is a mistake in this package.
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
			panic("no published type has the member " + row)
		}
	}
	return all
})

// served is a schema as a document of its own, with its name first.
type served struct {
	Dialect string         `json:"$schema"`
	ID      string         `json:"$id"` // relative to wherever konto is
	Title   string         `json:"title"`
	About   string         `json:"description"`
	Rest    jsontext.Value `json:",embed"`
}

// document encodes what is served.
func document(of any) []byte {
	text, err := json.Marshal(of, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		panic(fmt.Errorf("write %T: %w", of, err))
	}
	return text
}

// describer makes schemas from Go types and from the table members.
type describer struct {
	known map[reflect.Type]*jsonschema.Schema
	used  map[string]bool // the rows of members that are used
}

func newDescriber() *describer {
	d := &describer{used: map[string]bool{}, known: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[ulid.ULID](): {Type: "string", Pattern: patternULID},
		reflect.TypeFor[time.Time](): {Type: "string", Format: "date-time"},
		// A change is null or the new value, which is never empty.
		reflect.TypeFor[events.Change[string]](): {Types: []string{"string", "null"}, MinLength: new(1)},
	}}
	// Inner types come before the types that have them.
	identifier := d.describe(reflect.TypeFor[events.RegistrationIdentifier]())
	identifier.Type, identifier.Types = "", []string{"object", "null"}
	d.known[reflect.TypeFor[events.Change[events.RegistrationIdentifier]]()] = identifier
	for _, inner := range []reflect.Type{reflect.TypeFor[events.AddressUpdated](), reflect.TypeFor[events.ProfileUpdated]()} {
		d.known[inner] = d.describe(inner)
	}
	return d
}

// describe makes the schema of a struct. Further members are allowed, because a later konto can
// add some. It panics at a member without a row in members.
func (d *describer) describe(t reflect.Type) *jsonschema.Schema {
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: d.known})
	if err != nil {
		panic(err)
	}
	s.AdditionalProperties = nil
	for name, property := range s.Properties {
		row := t.Name() + "." + name
		is, described := members[row]
		if !described {
			panic("no description of the member " + row)
		}
		d.used[row] = true
		is.fill(property)
	}
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		// ForType allows null for a pointer, but a nil pointer is left out when it is encoded.
		if property := s.Properties[name]; field.Type.Kind() == reflect.Pointer && len(property.Types) == 2 {
			property.Type, property.Types = property.Types[1], nil // of null and the type
		}
	}
	return s
}
