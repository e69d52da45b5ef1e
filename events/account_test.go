package events_test

import (
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

var (
	accountID = ulid.MustParse("01HXA3B4C5D6E7F8G9H0J1K2M3")
	opened    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// fold adds payloads to a new account, a minute and ten positions apart.
func fold(t *testing.T, payloads ...events.Payload) *events.Account {
	t.Helper()
	var a events.Account
	for i, p := range payloads {
		apply(t, &a, i, p)
	}
	return &a
}

func apply(t *testing.T, a *events.Account, i int, p events.Payload) {
	t.Helper()
	e, err := events.New(events.AccountStream(accountID), uint64(i+1), ulid.Make(), opened.Add(time.Duration(i)*time.Minute), events.Metadata{}, p)
	if err != nil {
		t.Fatal(err)
	}
	e.Position = uint64(10 * (i + 1))
	stored, err := e.Payload()
	if err != nil {
		t.Fatal(err)
	}
	a.Apply(e, stored)
}

var opening = events.AccountOpened{
	Email: "Asa@Example.se", PaywayID: "5f1d7a3c9b8e4d2a6c0f1e3b",
	Profile: events.ProfileUpdated{FirstName: events.Set("Åsa"), SocialSecurityNumber: events.Set("198505073412")},
}

func TestEmailTriesAreCountedForAnHour(t *testing.T) {
	request, failed := events.EmailChangeRequested{NewEmail: "new@example.se"}, events.EmailChangeAttemptFailed{}
	a := fold(t, opening, request, failed, request, failed, events.EmailChangeCancelled{},
		events.EmailChanged{NewEmail: "new@example.se", How: events.EmailVerified}, request)
	since := opened.Add(time.Minute) // the first request's time
	want := events.EmailTries{Since: since, Requests: 3, Failed: 2}
	if got := a.EmailChange.Recent.At(since.Add(events.EmailTriesFor - 1)); got != want {
		t.Errorf("within the hour %+v, want %+v", got, want)
	}
	if got := a.EmailChange.Recent.At(since.Add(events.EmailTriesFor)); got.Requests != 0 || got.Failed != 0 {
		t.Errorf("after it %+v", got)
	}
}

func TestAccountFold(t *testing.T) {
	expires := opened.Add(time.Hour)
	asked := ulid.MustParse("01KJMN8RV0Z5X7Q2W9E4T6Y8AB")
	request := events.EmailChangeRequested{NewEmail: "new@example.se", Request: asked, CodeHash: []byte{1, 2}, ExpiresAt: expires}
	verified := events.EmailChanged{PreviousEmail: opening.Email, NewEmail: "new@example.se", How: events.EmailVerified}
	direct := events.EmailChanged{PreviousEmail: opening.Email, NewEmail: "set@example.se", How: events.EmailDirect}
	failed := events.EmailChangeAttemptFailed{Request: asked}
	three, yes, no := 3, true, false
	facts := events.FactsRecorded{ActiveDomains: &three, SeNuDomains: &three, PendingOrder: events.Set("order-1"), Verified: &yes, BankIDName: events.Set("ÅSA")}

	tests := map[string]struct {
		then []events.Payload // after the opening
		want func(a *events.Account)
	}{
		"opened":                 {nil, func(a *events.Account) {}},
		"updated":                {[]events.Payload{events.ProfileUpdated{LastName: events.Set("Öberg")}}, func(a *events.Account) { a.Profile.LastName = "Öberg" }},
		"cleared":                {[]events.Payload{events.ProfileUpdated{FirstName: events.Clear[string]()}}, func(a *events.Account) { a.Profile.FirstName = "" }},
		"email changed directly": {[]events.Payload{direct}, func(a *events.Account) { a.Email = "set@example.se" }},
		"email change requested": {[]events.Payload{request}, func(a *events.Account) {
			a.EmailChange = events.PendingEmail{NewEmail: "new@example.se", Request: asked, CodeHash: []byte{1, 2}, ExpiresAt: expires}
		}},
		"wrong codes tried": {[]events.Payload{request, failed, failed}, func(a *events.Account) {
			a.EmailChange = events.PendingEmail{NewEmail: "new@example.se", Request: asked, CodeHash: []byte{1, 2}, ExpiresAt: expires, Failed: 2}
		}},
		"a new request has all its tries": {[]events.Payload{request, failed, request}, func(a *events.Account) {
			a.EmailChange = events.PendingEmail{NewEmail: "new@example.se", Request: asked, CodeHash: []byte{1, 2}, ExpiresAt: expires}
		}},
		"email change confirmed": {[]events.Payload{request, verified}, func(a *events.Account) {
			a.Email, a.EmailChange = "new@example.se", events.PendingEmail{Verified: true}
		}},
		"email change cancelled":             {[]events.Payload{request, events.EmailChangeCancelled{NewEmail: "new@example.se"}}, func(a *events.Account) {}},
		"a direct change ends a pending one": {[]events.Payload{request, direct}, func(a *events.Account) { a.Email = "set@example.se" }},
		"a direct change is not verified":    {[]events.Payload{request, verified, direct}, func(a *events.Account) { a.Email = "set@example.se" }},
		"a request keeps the present address verified": {[]events.Payload{request, verified, request}, func(a *events.Account) {
			a.Email = "new@example.se"
			a.EmailChange = events.PendingEmail{NewEmail: "new@example.se", Request: asked, CodeHash: []byte{1, 2}, ExpiresAt: expires, Verified: true}
		}},
		"a cancelled one too": {[]events.Payload{request, verified, request, events.EmailChangeCancelled{NewEmail: "new@example.se"}}, func(a *events.Account) {
			a.Email, a.EmailChange = "new@example.se", events.PendingEmail{Verified: true}
		}},
		"password changed": {[]events.Payload{events.PasswordChanged{Hash: "$argon2id$1"}, events.PasswordChanged{Hash: "$argon2id$2"}},
			func(a *events.Account) { a.PasswordHash = "$argon2id$2" }},
		"identities linked": {[]events.Payload{
			events.IdentityLinked{Issuer: "https://a", Subject: "1"}, events.IdentityLinked{Issuer: "https://b", Subject: "1"},
			events.IdentityUnlinked{Issuer: "https://a", Subject: "1"},
		}, func(a *events.Account) { a.Identities = []events.Identity{{Issuer: "https://b", Subject: "1"}} }},
		"facts recorded": {[]events.Payload{facts}, func(a *events.Account) {
			a.Facts = events.Facts{ActiveDomains: 3, SeNuDomains: 3, PendingOrder: "order-1", Verified: true, BankIDName: "ÅSA"}
		}},
		"some facts recorded": {[]events.Payload{facts, events.FactsRecorded{PendingOrder: events.Clear[string](), Verified: &no}}, func(a *events.Account) {
			a.Facts = events.Facts{ActiveDomains: 3, SeNuDomains: 3, BankIDName: "ÅSA"}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := events.Account{
				ID: accountID, PaywayID: opening.PaywayID, Email: opening.Email, Opened: opened,
				Profile: events.Profile{FirstName: "Åsa", SocialSecurityNumber: "198505073412"},
				Updated: opened.Add(time.Duration(len(test.then)) * time.Minute),
				Version: uint64(1 + len(test.then)), Position: uint64(10 + 10*len(test.then)),
			}
			test.want(&want)
			got := fold(t, append([]events.Payload{opening}, test.then...)...)
			got.EmailChange.Recent = events.EmailTries{} // has a test of its own
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
			if !got.Exists() {
				t.Error("does not exist")
			}
		})
	}
}

func TestErasedAccountHoldsNothingPersonal(t *testing.T) {
	yes := true
	a := fold(t, opening, events.PasswordChanged{Hash: "$argon2id$1"}, events.FactsRecorded{Verified: &yes},
		events.EmailChangeRequested{NewEmail: "new@example.se"}, events.IdentityLinked{Issuer: "https://a", Subject: "1"}, events.AccountErased{})
	want := events.Account{ID: accountID, Erased: true, Opened: opened, Updated: opened.Add(5 * time.Minute), Version: 6, Position: 60}
	if !reflect.DeepEqual(*a, want) {
		t.Errorf("left: %+v", *a)
	}
	if a.Exists() || len(a.Claims()) != 0 {
		t.Errorf("exists: %v, claims: %v", a.Exists(), a.Claims())
	}
}

func TestAccountThatWasNeverOpenedDoesNotExist(t *testing.T) {
	if new(events.Account).Exists() {
		t.Error("exists")
	}
}

func TestPayloadsOfOtherStreamsChangeNoAccount(t *testing.T) {
	a := fold(t, opening)
	before := *a
	apply(t, a, 1, events.KeyIssued{Account: accountID})
	if !reflect.DeepEqual(*a, before) {
		t.Errorf("changed to %+v", *a)
	}
}

func TestClaimsFollowFromTheState(t *testing.T) {
	a := fold(t, opening)
	want := []events.Claim{
		{Kind: events.ClaimEmail, Value: "asa@example.se"},
		{Kind: events.ClaimPaywayID, Value: "5f1d7a3c9b8e4d2a6c0f1e3b"},
		{Kind: events.ClaimSocialSecurityNumber, Value: "8505073412"},
	}
	if got := a.Claims(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	apply(t, a, 1, events.ProfileUpdated{SocialSecurityNumber: events.Clear[string]()})
	apply(t, a, 2, events.EmailChanged{PreviousEmail: opening.Email, NewEmail: "ÅSA@example.se", How: events.EmailDirect})
	apply(t, a, 3, events.ProfileUpdated{CustomerNumber: events.Set("K-1002")})
	want = []events.Claim{{Kind: events.ClaimEmail, Value: "åsa@example.se"}, want[1], {Kind: events.ClaimCustomerNumber, Value: "K-1002"}}
	if got := a.Claims(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	apply(t, a, 4, events.IdentityLinked{Issuer: "https://a", Subject: "1"})
	before := *a
	apply(t, a, 5, events.IdentityLinked{Issuer: "https://a", Subject: "2"})
	want = append(want, events.Claim{Kind: events.ClaimIdentity, Value: "https://a\x001"}, events.Claim{Kind: events.ClaimIdentity, Value: "https://a\x002"})
	if got := a.Claims(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := before.Claims(); !slices.Equal(got, want[:4]) {
		t.Errorf("an earlier state has %v", got)
	}
}

// Another spelling of the same address is a change, but takes no new claim.
func TestNotationOfASocialSecurityNumberIsNotPartOfItsClaim(t *testing.T) {
	want := events.SocialSecurityNumberClaim("850507-3412")
	for _, same := range []string{"8505073412", "198505073412", "19850507-3412"} {
		if got := events.SocialSecurityNumberClaim(same); got != want {
			t.Errorf("%s claims %q, not %q", same, got.Value, want.Value)
		}
	}
}

func TestPeopleAHundredYearsApartHaveTwoClaims(t *testing.T) {
	if events.SocialSecurityNumberClaim("191212121212") == events.SocialSecurityNumberClaim("121212-1212") {
		t.Error("191212121212 and 121212-1212 are one")
	}
	for year, implied := range map[int]bool{1926: false, 1927: true, 2026: true, 2027: false} {
		long := strconv.Itoa(year) + "01011234"
		same := events.SocialSecurityNumberClaim(long) == events.SocialSecurityNumberClaim(long[2:8]+"-1234")
		if same != implied || events.CenturyImplied(year) != implied {
			t.Errorf("%s and %s-1234 are the same: %v", long, long[2:8], same)
		}
	}
}

func TestSpellingOfAnAddressIsNotPartOfItsClaim(t *testing.T) {
	if events.EmailClaim("Asa.Öberg@Example.SE") != events.EmailClaim("asa.öberg@example.se") {
		t.Error("an address may be claimed twice")
	}
	if events.PaywayIDClaim("5F1D7A3C9B8E4D2A6C0F1E3B") != events.PaywayIDClaim("5f1d7a3c9b8e4d2a6c0f1e3b") {
		t.Error("a Payway id may be claimed twice")
	}
}
