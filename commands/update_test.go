package commands

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"konto/events"
)

func anna() events.Account {
	return events.Account{
		Version: 3,
		Email:   "anna@example.se",
		Profile: events.Profile{
			FirstName: "Anna", LastName: "Svensson", CountryCode: "SE", PhoneNumber: "+46700000000",
			AccountType: events.TypePrivate, VATNumber: "SE559999999901",
			Address: events.Address{City: "Stockholm"},
		},
	}
}

func TestUpdateReducesToWhatChanges(t *testing.T) {
	direct := func(to string) events.EmailChanged {
		return events.EmailChanged{PreviousEmail: "anna@example.se", NewEmail: to, How: events.EmailDirect}
	}
	tests := []struct {
		name   string
		update *Update
		want   []events.Payload
	}{
		{"nothing asked", &Update{}, nil},
		{"the same again", &Update{
			Email:   events.Set("anna@example.se"),
			Name:    events.Set("Anna Svensson"),
			Profile: events.ProfileUpdated{FirstName: events.Set("Anna"), PhoneNumber: events.Set("070-000 00 00"), CompanyName: events.Clear[string]()},
		}, nil},
		{"one of two is new", &Update{
			Profile: events.ProfileUpdated{FirstName: events.Set("Anna"), LastName: events.Set("Berg")},
		}, []events.Payload{events.ProfileUpdated{LastName: events.Set("Berg")}}},
		{"clearing", &Update{
			Profile: events.ProfileUpdated{VATNumber: events.Clear[string](), Address: events.AddressUpdated{City: events.Set("")}},
		}, []events.Payload{events.ProfileUpdated{VATNumber: events.Clear[string](), Address: events.AddressUpdated{City: events.Clear[string]()}}}},
		{"email alone", &Update{Email: events.Set(" anna@example.com ")}, []events.Payload{direct("anna@example.com")}},
		{"email in other letters", &Update{Email: events.Set("Anna@Example.se")}, []events.Payload{direct("Anna@Example.se")}},
		{"email and profile", &Update{
			Email: events.Set("anna@example.com"), Profile: events.ProfileUpdated{Alias: events.Set("ann")},
		}, []events.Payload{events.ProfileUpdated{Alias: events.Set("ann")}, direct("anna@example.com")}},
		{"at the caller's version", &Update{
			If: Condition{Match: &Versions{List: []uint64{2, 3}}}, Profile: events.ProfileUpdated{Alias: events.Set("ann")},
		}, []events.Payload{events.ProfileUpdated{Alias: events.Set("ann")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := decide(anna(), tt.update)
			if err != nil || !reflect.DeepEqual(d.payloads, tt.want) || d.rejected != nil {
				t.Errorf("got %+v, %v; want %+v", d, err, tt.want)
			}
		})
	}
}

func TestNameIsSplit(t *testing.T) {
	tests := []struct{ kind, name, first, last, company string }{
		{events.TypePrivate, "Anna Maria Svensson", "Anna Maria", "Svensson", ""},
		{"", "Bo  Ek", "Bo", "Ek", ""},
		{events.TypePrivate, " Cher ", "Cher", "", ""},
		{events.TypeOrganisation, "Acme Corp.", "F", "L", "Acme Corp."},
	}
	for _, tt := range tests {
		state := events.Account{Version: 1, Profile: events.Profile{FirstName: "F", LastName: "L", AccountType: tt.kind}}
		d, err := decide(state, &Update{Name: events.Set(tt.name)})
		if err != nil || len(d.payloads) != 1 {
			t.Fatalf("%q: %+v, %v", tt.name, d, err)
		}
		state.Apply(events.Event{}, d.payloads[0])
		if p := state.Profile; p.FirstName != tt.first || p.LastName != tt.last || p.CompanyName != tt.company {
			t.Errorf("%q became %q, %q, %q", tt.name, p.FirstName, p.LastName, p.CompanyName)
		}
	}
}

func TestUpdateReportsEveryWrongFieldAtOnce(t *testing.T) {
	rejected := []FieldError{{"/nickname", CodeUnknownField, "x"}, {"/firstName", CodeInvalidType, "x"}}
	_, err := decide(anna(), &Update{
		Rejected: rejected,
		Email:    events.Clear[string](),
		Name:     events.Set(""),
		Profile: events.ProfileUpdated{
			PhoneNumber: events.Set("1"),
			AccountType: events.Set("x"),
			Address:     events.AddressUpdated{CountryCode: events.Set("x")},
		},
	})
	var invalid *Invalid
	if !errors.As(err, &invalid) || !errors.Is(err, ErrInvalid) {
		t.Fatalf("got %v, want *Invalid", err)
	}
	var got []string
	for _, f := range invalid.Fields {
		got = append(got, f.Field+" "+f.Code)
	}
	want := []string{
		"/nickname " + CodeUnknownField, "/firstName " + CodeInvalidType, "/email " + CodeMustBeSet, "/name " + CodeMustBeSet,
		"/accountType " + CodeInvalidValue, "/phoneNumber " + CodeInvalidFormat, "/address/countryCode " + CodeInvalidValue,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestUpdateChecksInTheOrderOfTheContracts(t *testing.T) {
	administrator := anna()
	administrator.Administrator = true
	erased := events.Account{Version: 4, Erased: true}
	newEmail := events.Set("new@example.com")
	wrong := events.ProfileUpdated{BirthDate: events.Set("x")}
	tests := []struct {
		name   string
		state  events.Account
		update *Update
		want   error
	}{
		{"wrong before unknown", events.Account{}, &Update{Profile: wrong, If: Condition{Match: &Versions{List: []uint64{9}}}}, ErrInvalid},
		{"unknown", events.Account{}, &Update{}, ErrNotFound},
		{"erased", erased, &Update{}, ErrNotFound},
		{"unknown, in part", events.Account{}, &Update{Profile: wrong, Partial: true}, ErrNotFound},
		{"wrong before administrator", administrator, &Update{Profile: wrong, Email: newEmail}, ErrInvalid},
		{"administrator before version", administrator, &Update{Email: newEmail, If: Condition{Match: &Versions{List: []uint64{9}}}}, ErrAdministratorEmail},
		{"version, even if nothing would change", anna(), &Update{If: Condition{Match: &Versions{List: []uint64{2, 4}}}}, ErrVersion},
		{"no version fits", anna(), &Update{If: Condition{Match: &Versions{List: []uint64{}}}}, ErrVersion},
		{"administrator's own address again", administrator, &Update{Email: events.Set("anna@example.se")}, nil},
		{"administrator's address by who may", administrator, &Update{Email: newEmail, AdministratorEmail: true}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := decide(tt.state, tt.update)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err != nil && (d.payloads != nil || d.rejected != nil) {
				t.Errorf("an error came with %+v", d)
			}
			var mismatch *VersionMismatch
			if errors.As(err, &mismatch) && mismatch.Actual != 3 {
				t.Errorf("told version %d, want 3", mismatch.Actual)
			}
		})
	}
}

func TestPartialUpdateStoresRightValues(t *testing.T) {
	administrator := anna()
	administrator.Administrator = true
	update := &Update{
		Partial:  true,
		Rejected: []FieldError{{"/address/lastName", CodeMustBeSet, "x"}},
		Email:    events.Set("new@example.com"),
		Profile:  events.ProfileUpdated{FirstName: events.Set("Eva"), BirthDate: events.Set("1985-13-01"), CountryCode: events.Set("XX"), PhoneNumber: events.Set("0734567890")},
	}
	d, err := decide(administrator, update)
	if err != nil {
		t.Fatal(err)
	}
	want := []events.Payload{events.ProfileUpdated{FirstName: events.Set("Eva"), PhoneNumber: events.Set("+46734567890")}}
	if !reflect.DeepEqual(d.payloads, want) {
		t.Errorf("got %+v, want %+v", d.payloads, want)
	}
	var got []string
	for _, f := range d.rejected {
		got = append(got, f.Field+" "+f.Code)
	}
	wantRejected := []string{"/address/lastName " + CodeMustBeSet, "/countryCode " + CodeInvalidValue, "/birthDate " + CodeInvalidFormat, "/email " + CodeNotAllowed}
	if !slices.Equal(got, wantRejected) {
		t.Errorf("got %v, want %v", got, wantRejected)
	}
}

// The contract's findings about what the account has do not count; those about
// other values do, and so does a member that is there twice.
func TestFindingsAboutUnchangedValuesDoNotCount(t *testing.T) {
	state := anna()
	state.Email, state.Profile.LanguageCode, state.Profile.Address.CountryCode = "a,b@example.se", "en-GB", "NO"
	update := &Update{
		Partial: true, AddressNeeds: []string{"/address/countryCode", "/address/city"},
		Email: events.Set("a,b@example.se"),
		Profile: events.ProfileUpdated{LanguageCode: events.Set("en-GB"), Alias: events.Set("ann"),
			Address: events.AddressUpdated{CountryCode: events.Set("NO"), Floor: events.Set("2")}},
	}
	for _, tt := range []struct {
		code  string
		fails bool
	}{{CodeInvalidFormat, false}, {CodeInvalidValue, false}, {CodeDuplicateField, true}} {
		update.Rejected = nil
		for _, field := range []string{"/email", "/languageCode", "/address/countryCode"} {
			update.Rejected = append(update.Rejected, FieldError{field, tt.code, "x"})
		}
		d, err := decide(state, update)
		want := events.ProfileUpdated{Alias: events.Set("ann"), Address: events.AddressUpdated{Floor: events.Set("2")}}
		if tt.fails {
			want.Address = events.AddressUpdated{} // which needs its country
		}
		if err != nil || (len(d.rejected) > 0) != tt.fails || !reflect.DeepEqual(d.payloads, []events.Payload{want}) {
			t.Errorf("%s: %+v, %v", tt.code, d, err)
		}
	}
}

// A required member of the address that commands refuses costs the whole address.
func TestAddressNeedsItsRequiredMembers(t *testing.T) {
	update := &Update{
		Partial: true, AddressNeeds: []string{"/address/city"},
		Profile: events.ProfileUpdated{Alias: events.Set("ann"), Address: events.AddressUpdated{City: events.Set("\u200b"), Floor: events.Set("2")}},
	}
	d, err := decide(anna(), update)
	if err != nil || len(d.rejected) != 1 || !reflect.DeepEqual(d.payloads, []events.Payload{events.ProfileUpdated{Alias: events.Set("ann")}}) {
		t.Errorf("%+v, %v", d, err)
	}
}

// A command may be decided again after a lost race, so deciding must not
// change it: neither its values nor the array behind Rejected.
func TestDecideDoesNotChangeTheCommand(t *testing.T) {
	backing := append(make([]FieldError, 0, 8), FieldError{"/a", CodeUnknownField, "x"})
	update := &Update{Partial: true, Rejected: backing, Email: events.Set("no"), Profile: events.ProfileUpdated{PhoneNumber: events.Set("0734567890")}}
	first, _ := decide(anna(), update)
	second, _ := decide(anna(), update)
	if !reflect.DeepEqual(first, second) || len(first.rejected) != 2 {
		t.Errorf("decided %+v, then %+v", first, second)
	}
	if backing[:2][1] != (FieldError{}) {
		t.Errorf("wrote into the caller's array: %+v", backing[:2])
	}
}

func TestEmailAddresses(t *testing.T) {
	long := strings.Repeat("a", 1024-len("@example.se")) + "@example.se"
	for _, good := range []string{
		"a@b.se", "servicedesk+tag@no-reply.co.uk", "o'hara@example.com", long, "Anna@Example.COM", "a.b-c_d@x-y.example",
		"a%b@example.se", "!#$%&'*+-/?=^_`{|}~@example.se", "a@xn--bcher-kva.example", "a@123.example", "a@b.xn--p1ai",
		"\u00e5sa@ex\u00e4mple.se", "jose\u0301@example.se", "a@ex\uff41mple.se", "\u30c6\u30b9\u30c8@\u30c6\u30b9\u30c8.jp",
		"a@" + strings.Repeat("b", 63) + ".example",
	} {
		var c checker
		change := events.Set(good)
		c.requiredIfMade("/email", &change, emailAddress)
		if len(c.wrong) > 0 || change.To != good {
			t.Errorf("%q: %+v", good, c.wrong)
		}
	}
	wrong := map[string]string{
		"":           CodeMustBeSet,
		" ":          CodeEmpty,
		"a":          CodeInvalidFormat,
		"@b.se":      CodeInvalidFormat,
		"a@":         CodeInvalidFormat,
		"a@b":        CodeInvalidFormat,
		"a@b..se":    CodeInvalidFormat,
		"a@.se":      CodeInvalidFormat,
		"a@b.se.":    CodeInvalidFormat,
		"a@b@c.se":   CodeInvalidFormat,
		"a b@c.se":   CodeInvalidFormat,
		"a@c d.se":   CodeInvalidFormat,
		"a\x7f@c.se": CodeInvalidFormat,
		"a" + long:   CodeTooLong,
		strings.Repeat("å", 600) + "@example.se": CodeTooLong, // 1,024 bytes, not characters
	}
	for _, bad := range []string{
		// Forms of a message's header that are no address themselves.
		"<anna@example.com>", "Anna <anna@example.com>", "anna@example.com (Anna)", "(x)anna@example.com", "anna(x)@example.com",
		"anna@example.com,b@example.com", "group:anna@example.com;", "anna@example.com;b", "mailto:anna@example.com",
		`"anna"@example.com`, `"a b"@example.com`, `"a@b"@example.com`, `a\@b@example.com`, `anna\@example.com`, "=?utf-8?q?anna?=@example.com",
		// Local parts.
		"a,b@example.com", "an..na@example.com", ".anna@example.com", "anna.@example.com", "an[na@example.com", "an:na@example.com",
		"anna @example.com", "an\u00a0na@example.com", "@anna@example.com", "anna@@example.com", "a@b@example.com", "anna\uff20example.com",
		// Domains.
		"anna@exam%00ple.com", "anna@-example-.com", "anna@-example.com", "anna@example-.com", "anna@ex_ample.com", "anna@example.-com",
		"anna@[192.0.2.1]", "anna@[IPv6:2001:db8::1]", "anna@192.0.2.1", "anna@1.2.3.4.", "anna@example.123", "anna@\uff11.\uff12",
		"anna@example.com\u3002", "anna@example..com", "anna@example\u3002\u3002com", "anna@.com", "anna@localhost", "anna@example\u3002com", "anna@example,com",
		"anna@example.com/x", "anna@example.com:25", "anna@exam ple.com", "anna@exam!ple.com", "anna@ex\uff05ample.com",
		"anna@xn--.example", "anna@xn--github-.example", "anna@xn--b\u00fccher.example", "anna@xn--\u00e5.example", "anna@ab--cd.example",
		"anna@\u0301example.com", "anna@a\u05d0b.example", "anna@" + strings.Repeat("b", 64) + ".example",
		"anna@" + strings.Repeat("abcdefg.", 32) + "example", "anna@" + strings.Repeat("\u00fc", 60) + ".example",
		// What cannot be seen.
		"an\u200bna@example.com", "anna@exam\u200bple.com", "an\u202ena@example.com", "anna@exa\u00admple.com", "an\u00adna@example.com",
		"an\u2066na@example.com", "an\u200dna@example.com", "an\u2060na@example.com", "\ufeffanna@example.com", "an\u061cna@example.com",
		"an\U000e0041na@example.com", "an\ufe0fna@example.com", "an\U000e0100na@example.com", "an\u180bna@example.com", "an\u034fna@example.com",
		"an\u3164na@example.com", "an\uffa0na@example.com", "an\u115fna@example.com", "an\u2800na@example.com", "an\ue000na@example.com",
		"an\U000f0000na@example.com", "an\u0378na@example.com", "an\U0001ffffna@example.com", "an\u2028na@example.com", "an\u3000na@example.com",
		"an\u0085na@example.com", "an\x00na@example.com", "anna@example.com\u202c",
	} {
		wrong[bad] = CodeInvalidFormat
	}
	for bad, code := range wrong {
		var c checker
		change := events.Set(bad)
		c.requiredIfMade("/email", &change, emailAddress)
		if len(c.wrong) != 1 || c.wrong[0].Code != code || change.Made {
			t.Errorf("%+.60q: %+v, want %s", bad, c.wrong, code)
		}
	}
}

// An account may have an address of before a rule: a form sends it back, and nothing happens.
func TestPresentAddressIsNotCheckedAgain(t *testing.T) {
	state := anna()
	state.Email = "<anna@example.com>"
	for _, verify := range []bool{false, true} {
		for _, partial := range []bool{false, true} {
			d, err := decide(state, &Update{Email: events.Set(state.Email), VerifyEmail: verify, Partial: partial})
			if err != nil || len(d.payloads) > 0 || len(d.rejected) > 0 {
				t.Errorf("verify %t, partial %t: %+v, %v", verify, partial, d, err)
			}
			_, err = decide(state, &Update{Email: events.Set("<bo@example.com>"), VerifyEmail: verify})
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("another such address, verify %t: %v", verify, err)
			}
		}
	}
}
