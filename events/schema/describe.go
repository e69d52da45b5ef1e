package schema

import (
	"reflect"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// describer makes schemas of types: what they tell, and what members says.
type describer struct {
	known map[reflect.Type]*jsonschema.Schema
	used  map[string]bool // rows of members
}

func newDescriber() *describer {
	d := &describer{used: map[string]bool{}, known: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[ulid.ULID](): {Type: "string", Pattern: patternULID},
		reflect.TypeFor[time.Time](): {Type: "string", Format: "date-time"},
		// A change is null, or what the field is set to, which is never empty.
		reflect.TypeFor[events.Change[string]](): {Types: []string{"string", "null"}, MinLength: new(1)},
	}}
	// Inner types come before those that hold them.
	identifier := d.describe(reflect.TypeFor[events.RegistrationIdentifier]())
	identifier.Type, identifier.Types = "", []string{"object", "null"}
	d.known[reflect.TypeFor[events.Change[events.RegistrationIdentifier]]()] = identifier
	for _, inner := range []reflect.Type{reflect.TypeFor[events.AddressUpdated](), reflect.TypeFor[events.ProfileUpdated]()} {
		d.known[inner] = d.describe(inner)
	}
	return d
}

// describe makes the schema of a struct, open for members that a later konto
// adds. It panics at a member that nobody described.
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
		// ForType lets a pointer be null, but a nil one is left out when it is written.
		if property := s.Properties[name]; field.Type.Kind() == reflect.Pointer && len(property.Types) == 2 {
			property.Type, property.Types = property.Types[1], nil // of null and the type
		}
	}
	return s
}
