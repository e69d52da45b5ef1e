package events_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// The bytes are stored, and read by the library: whoever adds a member has to
// add it to what is written by hand too.
func TestWhatIsWrittenByHandIsWhatTheLibraryWrites(t *testing.T) {
	t.Run("account", func(t *testing.T) { compareWithLibrary(t, (*events.Account).Encode) })
	t.Run("metadata", func(t *testing.T) { compareWithLibrary(t, (*events.Metadata).Encode) })
}

// compareWithLibrary encodes a V with nothing set, with each of its members alone,
// and with all of them.
func compareWithLibrary[V any](t *testing.T, encode func(*V) ([]byte, error)) {
	var none, every V
	for _, member := range leaves(reflect.ValueOf(&every).Elem(), "") {
		set(t, member)
	}
	values := map[string]*V{"nothing": &none, "everything": &every}
	for i, member := range leaves(reflect.ValueOf(&none).Elem(), "") {
		values[member.path] = new(V)
		set(t, leaves(reflect.ValueOf(values[member.path]).Elem(), "")[i])
	}
	for name, value := range values {
		want, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := encode(value); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v\n%s, want\n%s", name, err, got, want)
		}
	}
}

// leaf is a member that is no struct with members of its own.
type leaf struct {
	value reflect.Value
	path  string
}

func leaves(v reflect.Value, path string) (all []leaf) {
	if _, isTime := v.Interface().(time.Time); isTime || v.Kind() != reflect.Struct {
		return []leaf{{v, path}}
	}
	for i := range v.NumField() {
		all = append(all, leaves(v.Field(i), path+"."+v.Type().Field(i).Name)...)
	}
	return all
}

// set gives a member a value that no other one has where its type allows.
func set(t *testing.T, member leaf) {
	t.Helper()
	switch to := member.value.Addr().Interface().(type) {
	case *string:
		*to = member.path + " \u2028\"Å\\\n\x01</a>&😀"
	case *bool:
		*to = true
	case *int:
		*to = len(member.path)
	case *uint64:
		*to = 1<<63 + uint64(len(member.path))
	case *[]byte:
		*to = []byte(member.path)
	case *time.Time:
		*to = time.Date(2026, 3, 1, 12, 0, len(member.path), 120e6, time.UTC)
	case *ulid.ULID:
		copy(to[:], strings.Repeat(member.path, len(to)))
	default:
		t.Fatalf("%s has a type that this test does not know: %s", member.path, member.value.Type())
	}
}

func TestWhatIsNoJSONIsNotWritten(t *testing.T) {
	never := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, encode := range map[string]func() ([]byte, error){
		"a text":             (&events.Account{Email: "a\xffb"}).Encode,
		"one of the profile": (&events.Account{Profile: events.Profile{Address: events.Address{City: "a\xffb"}}}).Encode,
		"one of the facts":   (&events.Account{Facts: events.Facts{PendingOrder: "a\xffb"}}).Encode,
		"a time":             (&events.Account{Updated: never}).Encode,
		"metadata":           (&events.Metadata{Trace: "a\xffb"}).Encode,
	} {
		t.Run(name, func(t *testing.T) {
			if data, err := encode(); err == nil || data != nil {
				t.Errorf("written as %q, %v", data, err)
			}
		})
	}
}

// BenchmarkAccountEncode encodes an account of the size that customers have.
func BenchmarkAccountEncode(b *testing.B) {
	a := events.Account{
		ID: accountID, Email: "anna.svensson@example.com", PaywayID: opening.PaywayID, Opened: opened, Updated: opened, Version: 12, Position: 123456,
		Profile: events.Profile{
			FirstName: "Anna", LastName: "Svensson", CompanyName: "Svensson Bygg AB", PhoneNumber: "+46701234567", CountryCode: "SE", LanguageCode: "sv",
			RegistrationIdentifier: events.RegistrationIdentifier{Value: "556036-0793", CountryCode: "SE", Type: events.IdentifierOrganisation},
			Address:                events.Address{Street: "Storgatan 12", PostalCode: "111 22", City: "Stockholm", CountryCode: "SE"},
		},
	}
	withFacts := a
	withFacts.Facts = events.Facts{ActiveDomains: 12, SeNuDomains: 3, Verified: true, BankIDName: "ANNA SVENSSON"}
	for name, a := range map[string]*events.Account{"facts=none": &a, "facts=some": &withFacts} {
		for by, encode := range map[string]func() ([]byte, error){
			"hand": a.Encode, "library": func() ([]byte, error) { return json.Marshal(a) },
		} {
			b.Run(fmt.Sprintf("%s/by=%s", name, by), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := encode(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
