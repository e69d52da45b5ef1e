package schema

import (
	"cmp"
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
	for row := range rules {
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

// patternULID is the form of a ULID: 26 digits of Crockford's base 32.
const patternULID = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"

// What konto accepts as an address. It has no format: "email" has no å, many validators do not know
// "idn-email", and both refuse addresses that are in use.
var email = jsonschema.Schema{Pattern: `^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$`}

var (
	country = jsonschema.Schema{Pattern: "^[A-Z]{2}$"}
	count   = jsonschema.Schema{Minimum: new(0.0)}
)

// rules has the members of published types whose values the Go type does not describe. It has a rule
// only if the rule is true for every account. For example, a phone number that Payway's own format
// accepts need not be E.164.
var rules = map[string]jsonschema.Schema{
	"AccountOpened.email":                    email,
	"AccountOpened.paywayId":                 {Pattern: "^[0-9a-f]{24}$"},
	"EmailChanged.previousEmail":             email,
	"EmailChanged.newEmail":                  email,
	"EmailChanged.how":                       {Enum: []any{"direct", "verified"}},
	"PublishedEmailChangeRequested.newEmail": email,
	"EmailChangeCancelled.newEmail":          email,
	"FactsRecorded.activeDomains":            count,
	"FactsRecorded.seNuDomains":              count,
	"ProfileUpdated.accountType":             {Enum: []any{"private", "organisation", nil}},
	"ProfileUpdated.birthDate":               {Format: "date"},
	"ProfileUpdated.countryCode":             country,
	"ProfileUpdated.currencyCode":            {Pattern: "^[A-Z]{3}$"},
	"RegistrationIdentifier.countryCode":     country,
	"RegistrationIdentifier.type":            {Enum: []any{"personal_identifier", "organisation_number"}},
	"AddressUpdated.countryCode":             country,
	"AddressUpdated.citizenshipCountryCode":  country,
}

// describer makes schemas from Go types, their tags and the table rules.
type describer struct {
	known map[reflect.Type]*jsonschema.Schema
	used  map[string]bool // the rows of rules that are used
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
// add some. It panics at a member that no tag describes.
func (d *describer) describe(t reflect.Type) *jsonschema.Schema {
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: d.known})
	if err != nil {
		panic(err)
	}
	s.AdditionalProperties = nil
	for name, property := range s.Properties {
		row := t.Name() + "." + name
		if property.Description == "" {
			panic("no description of the member " + row)
		}
		rule := rules[row]
		d.used[row] = true
		property.Enum, property.Minimum = rule.Enum, rule.Minimum
		property.Pattern = cmp.Or(rule.Pattern, property.Pattern)
		property.Format = cmp.Or(rule.Format, property.Format)
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
