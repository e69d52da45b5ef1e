package commands

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"konto/events"
)

const someHash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U"

func TestOpenNormalizes(t *testing.T) {
	d, err := decide(events.Account{}, Open{
		Email: " Anna@example.se ", PaywayID: "50F3AC249F6AEF294D000007", Administrator: true, PasswordHash: someHash,
		Profile: events.ProfileUpdated{FirstName: events.Set("Anna"), LastName: events.Clear[string](), CountryCode: events.Set("fi"), PhoneNumber: events.Set("0401234567")},
	})
	want := []events.Payload{
		events.AccountOpened{Email: "Anna@example.se", PaywayID: "50f3ac249f6aef294d000007", Administrator: true,
			Profile: events.ProfileUpdated{FirstName: events.Set("Anna"), CountryCode: events.Set("FI"), PhoneNumber: events.Set("+358401234567")}},
		events.PasswordChanged{Hash: someHash},
	}
	if err != nil || !reflect.DeepEqual(d.payloads, want) {
		t.Errorf("got %+v, %v; want %+v", d.payloads, err, want)
	}
}

// A hash that cannot be verified would lock the account's owner out, and one that
// is too costly would stop the machine.
func TestOpenAcceptsOnlyHashesThatCanBeVerified(t *testing.T) {
	for name, hash := range map[string]string{
		"another algorithm": "$2b$12$abcdefghijklmnopqrstuv",
		"cut off":           someHash[:len(someHash)-36],
		"too costly":        strings.Replace(someHash, "m=19456", "m=4194304", 1),
		"another version":   strings.Replace(someHash, "v=19", "v=16", 1),
	} {
		err := Open{Email: "a@b.se", PaywayID: NewPaywayID(), PasswordHash: hash}.Check(time.Now())
		var invalid *Invalid
		if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != "/password" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenRecordsFacts(t *testing.T) {
	domains, none, no := 2, 0, false
	d, err := decide(events.Account{}, Open{Email: "a@b.se", PaywayID: NewPaywayID(), Facts: events.FactsRecorded{
		ActiveDomains: &domains, SeNuDomains: &none, Verified: &no, BankIDName: events.Set(" Anna "),
	}})
	want := events.FactsRecorded{ActiveDomains: &domains, BankIDName: events.Set("Anna")}
	if err != nil || len(d.payloads) != 2 || !reflect.DeepEqual(d.payloads[1], want) {
		t.Errorf("got %+v, %v", d.payloads, err)
	}
	less := -1
	err = Open{Email: "a@b.se", PaywayID: NewPaywayID(), Facts: events.FactsRecorded{SeNuDomains: &less}}.Check(time.Now())
	var invalid *Invalid
	if !errors.As(err, &invalid) || invalid.Fields[0].Field != "/facts/seNuDomains" {
		t.Errorf("got %v", err)
	}
}

func TestOpenWithoutPasswordIsOneEvent(t *testing.T) {
	d, err := decide(events.Account{}, Open{Email: "a@b.se", PaywayID: strings.Repeat("0", 24)})
	if err != nil || len(d.payloads) != 1 {
		t.Errorf("got %+v, %v", d.payloads, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := decide(anna(), Open{PaywayID: "50f3", PasswordHash: "secret", Profile: events.ProfileUpdated{BirthDate: events.Set("x")}})
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, f := range invalid.Fields {
		got = append(got, f.Field+" "+f.Code)
	}
	want := []string{"/email " + CodeMustBeSet, "/paywayId " + CodeInvalidFormat, "/birthDate " + CodeInvalidFormat, "/password " + CodeInvalidFormat}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOpenRefusesAnExistingStream(t *testing.T) {
	for _, state := range []events.Account{anna(), {Version: 3, Erased: true}} {
		_, err := decide(state, Open{Email: "a@b.se", PaywayID: strings.Repeat("0", 24)})
		var mismatch *VersionMismatch
		if !errors.As(err, &mismatch) || mismatch.Actual != 3 {
			t.Errorf("got %v", err)
		}
	}
}

func TestDefaultsDoNotReplaceGivenValues(t *testing.T) {
	o := Open{Profile: events.ProfileUpdated{CountryCode: events.Set("FI"), CurrencyCode: events.Clear[string]()}}.WithDefaults()
	want := events.ProfileUpdated{
		AccountType: events.Set("private"), CountryCode: events.Set("FI"), LanguageCode: events.Set("sv"), CurrencyCode: events.Clear[string](),
	}
	if o.Profile != want {
		t.Errorf("got %+v", o.Profile)
	}
}

func TestOpenKeepsDecidedFormats(t *testing.T) {
	o := Open{Email: "a@b.se", PaywayID: NewPaywayID(), FormatsDecided: true, Profile: events.ProfileUpdated{PhoneNumber: events.Set(",999999999999")}}
	if err := o.Check(time.Now()); err != nil {
		t.Errorf("refused: %v", err)
	}
	o.FormatsDecided = false
	if err := o.Check(time.Now()); !errors.Is(err, ErrInvalid) {
		t.Errorf("without the contract's word: %v", err)
	}
}
