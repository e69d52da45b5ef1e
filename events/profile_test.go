package events_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"konto/events"
)

func TestChangeInJSON(t *testing.T) {
	identifier := events.RegistrationIdentifier{Value: "850507-3412", CountryCode: "SE", Type: events.IdentifierPersonal}
	tests := map[string]struct {
		stored string
		want   events.ProfileUpdated
		again  string // as it is written; "" for as it was stored
	}{
		"absent members change nothing": {`{}`, events.ProfileUpdated{}, ""},
		"null clears":                   {`{"alias":null}`, events.ProfileUpdated{Alias: events.Clear[string]()}, ""},
		"an empty text clears too":      {`{"alias":""}`, events.ProfileUpdated{Alias: events.Clear[string]()}, `{"alias":null}`},
		"a value sets":                  {`{"alias":"Öa"}`, events.ProfileUpdated{Alias: events.Set("Öa")}, ""},
		"null clears an object": {`{"registrationIdentifier":null}`,
			events.ProfileUpdated{RegistrationIdentifier: events.Clear[events.RegistrationIdentifier]()}, ""},
		"an object sets": {`{"registrationIdentifier":{"value":"850507-3412","countryCode":"SE","type":"personal_identifier"}}`,
			events.ProfileUpdated{RegistrationIdentifier: events.Set(identifier)}, ""},
		"inside the address": {`{"address":{"street":null,"city":"Örebro"}}`,
			events.ProfileUpdated{Address: events.AddressUpdated{Street: events.Clear[string](), City: events.Set("Örebro")}}, ""},
		"an address that changes nothing": {`{"address":{}}`, events.ProfileUpdated{}, `{}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got events.ProfileUpdated
			if err := json.Unmarshal([]byte(test.stored), &got); err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("read %+v", got)
			}
			if test.again == "" {
				test.again = test.stored
			}
			if data, err := json.Marshal(got); err != nil || string(data) != test.again {
				t.Errorf("written as %s, %v", data, err)
			}
		})
	}
}

func TestSettingTheZeroValueClears(t *testing.T) {
	if events.Set("") != events.Clear[string]() {
		t.Error("two ways to clear differ")
	}
}

// everyChange is an update that sets each field to a text of its own, and the
// profile that it makes of an empty one, built without the code under test.
func everyChange(t *testing.T) (u events.ProfileUpdated, p events.Profile) {
	t.Helper()
	fill(t, reflect.ValueOf(&u).Elem(), reflect.ValueOf(&p).Elem(), "")
	return u, p
}

func fill(t *testing.T, update, state reflect.Value, path string) {
	t.Helper()
	if update.NumField() != state.NumField() {
		t.Fatalf("%s and %s differ in length", update.Type(), state.Type())
	}
	for i := range state.NumField() {
		field, change := state.Type().Field(i), update.Type().Field(i)
		if field.Name != change.Name || field.Tag.Get("json") != change.Tag.Get("json") {
			t.Fatalf("field %d is %s in %s and %s in %s", i, field.Name, state.Type(), change.Name, update.Type())
		}
		path := path + field.Name
		switch c := update.Field(i).Addr().Interface().(type) {
		case *events.Change[string]:
			*c = events.Set(path)
			state.Field(i).SetString(path)
		case *events.Change[events.RegistrationIdentifier]:
			identifier := events.RegistrationIdentifier{Value: path}
			*c = events.Set(identifier)
			state.Field(i).Set(reflect.ValueOf(identifier))
		default:
			fill(t, update.Field(i), state.Field(i), path+".")
		}
	}
}

func TestEveryFieldOfTheProfileIsApplied(t *testing.T) {
	update, want := everyChange(t)
	var a events.Account
	a.Apply(events.Event{}, update)
	if a.Profile != want {
		t.Errorf("applied %+v\nwant    %+v", a.Profile, want)
	}
	a.Apply(events.Event{}, events.ProfileUpdated{})
	if a.Profile != want {
		t.Errorf("an empty update changed it to %+v", a.Profile)
	}
}

func TestEveryFieldOfTheProfileIsCleared(t *testing.T) {
	update, profile := everyChange(t)
	// In JSON each value becomes null.
	text, err := json.Marshal(clearAll(update))
	if err != nil || strings.Count(string(text), "null") < reflect.TypeFor[events.Address]().NumField() {
		t.Fatalf("%s, %v", text, err)
	}
	a := events.Account{Profile: profile}
	a.Apply(events.Event{}, clearAll(update))
	if a.Profile != (events.Profile{}) {
		t.Errorf("left: %+v", a.Profile)
	}
}

func clearAll(u events.ProfileUpdated) events.ProfileUpdated {
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		if to := v.FieldByName("To"); to.IsValid() {
			to.SetZero()
			return
		}
		for i := range v.NumField() {
			walk(v.Field(i))
		}
	}
	walk(reflect.ValueOf(&u).Elem())
	return u
}

func TestReducedRemovesUnchangedFields(t *testing.T) {
	update, profile := everyChange(t)
	if left := update.Reduced(profile); !left.IsZero() {
		t.Errorf("left: %+v", left)
	}
	if left := clearAll(update).Reduced(events.Profile{}); !left.IsZero() {
		t.Errorf("clearing an empty profile left %+v", left)
	}
	if left := update.Reduced(events.Profile{}); left != update {
		t.Errorf("of a wholly new profile only %+v is left", left)
	}
	profile.FirstName, profile.Address.City = "another", "another"
	want := events.ProfileUpdated{FirstName: update.FirstName, Address: events.AddressUpdated{City: update.Address.City}}
	if left := update.Reduced(profile); left != want {
		t.Errorf("left: %+v", left)
	}
}

// The bytes are a public format, and the library decodes them.
func TestUpdateIsEncodedAsByTheLibrary(t *testing.T) {
	every, _ := everyChange(t)
	updates := []events.ProfileUpdated{
		{}, every, clearAll(every),
		{LastName: events.Set("\u2028 \"Å\\\n\x01</a>&😀")},
		{RegistrationIdentifier: events.Clear[events.RegistrationIdentifier]()},
		{FirstName: events.Clear[string](), Address: events.AddressUpdated{City: events.Set("Luleå"), State: events.Clear[string]()}},
		{Address: events.AddressUpdated{CompanyVATNumber: events.Set("SE1")}},
	}
	for _, u := range updates {
		want, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		name, got, err := events.Encode(u)
		if err != nil || name != events.TypeProfileUpdated || string(got) != string(want) {
			t.Errorf("%s %s %v, want %s", name, got, err, want)
		}
	}
}

func TestTextThatIsNotUTF8IsNotEncoded(t *testing.T) {
	const bad = "a\xffb"
	for name, encode := range map[string]func() ([]byte, error){
		"account":    (&events.Account{Email: bad}).Encode,
		"its city":   (&events.Account{Profile: events.Profile{Address: events.Address{City: bad}}}).Encode,
		"a fact":     (&events.Account{Facts: events.Facts{PendingOrder: bad}}).Encode,
		"metadata":   (&events.Metadata{Trace: bad}).Encode,
		"update":     encoded(events.ProfileUpdated{FirstName: events.Set(bad)}),
		"new city":   encoded(events.ProfileUpdated{Address: events.AddressUpdated{City: events.Set(bad)}}),
		"identifier": encoded(events.ProfileUpdated{RegistrationIdentifier: events.Set(events.RegistrationIdentifier{Value: bad})}),
	} {
		if data, err := encode(); err == nil {
			t.Errorf("%s: encoded as %q", name, data)
		}
	}
}

func encoded(p events.Payload) func() ([]byte, error) {
	return func() ([]byte, error) {
		_, data, err := events.Encode(p)
		return data, err
	}
}
