package http

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
)

// oddAccount holds values that no contract accepts today. An earlier build or another
// contract accepted them.
const oddAccount = `{"email": "a b@example.com", "paywayId": "50f3ac249f6aef294d000007", "profile": {
	"firstName": "\u200b", "lastName": "Ek \u3164", "companyName": "\u2800", "alias": "\u00ad", "accountOrigin": "\u2060", "accountType": "TYPE",
	"birthDate": "2999-01-01", "phoneNumber": "+4670000", "countryCode": "AN", "languageCode": "en-GB", "currencyCode": "DEM",
	"timeZone": "./localtime", "vatNumber": "SE-1", "invoiceReference": "\u180e", "socialSecurityNumber": "000000000000",
	"companyRegistrationNumber": "000000-0000", "registrationIdentifier": {"value": "850231-3412", "countryCode": "SE", "type": "personal_identifier"},
	"address": {"firstName": "\u200b", "lastName": "\u200b", "street": "\u200b", "building": "\u200b", "countryCode": "NO", "postalCode": "\u200b",
		"city": "\u200b", "state": "\u200b", "streetNumber": "\u200b", "staircase": "\u200b", "floor": "\u200b", "apartmentNumber": "\u200b",
		"mobileNumber": "\u200b", "phoneNumber": "\u200b", "citizenshipCountryCode": "AN", "dropbox": "\u200b", "companyName": "\u200b",
		"companyReference": "\u200b", "companyDepartment": "\u200b", "companyCrn": "\u200b", "companyVatNumber": "\u200b", "careOf": "\u200b"}}}`

// openOdd opens an account without any checks, as an earlier build did.
func (h *harness) openOdd(name, accountType string) ulid.ULID {
	h.t.Helper()
	id := ulid.Make()
	opened := parse[events.AccountOpened](h.t, strings.ReplaceAll(oddAccount, "TYPE", accountType))
	e, err := events.New(events.AccountStream(id), 1, ulid.Make(), time.Now(), events.Metadata{}, opened)
	h.must(err)
	claim := events.PaywayIDClaim(opened.PaywayID)
	_, err = h.store.Append(h.t.Context(), events.AccountStream(id), 0, []eventstore.ClaimChange{{Claim: claim}}, []events.Event{e})
	h.must(err)
	h.ids[name] = id
	return id
}

// TestUnchangedValuesAreNotValidated sends the values back that each contract shows,
// member by member and all at once.
func TestUnchangedValuesAreNotValidated(t *testing.T) {
	for _, accountType := range []string{events.TypePrivate, events.TypeOrganisation} {
		h := newHarness(t)
		id := h.openOdd("anna", accountType)
		h.key("client", events.KeyIssued{Client: "adeprimo", Scopes: []string{"/external/account/r", "/external/account/w"}})
		h.key("key", events.KeyIssued{Account: id, Scopes: []string{"read:account", "write:account"}})
		const payway = "/external/api/v1/accounts"
		for _, c := range []struct {
			read, method, write, key string
			members                  []member
			always                   string
		}{
			{"/api/v2/me", "PATCH", "/api/v2/me", "key", hostupBody, `{}`},
			{"/v1/account", "PATCH", "/v1/account", "key", genericBody, `{}`},
			{payway + "?id=50f3ac249f6aef294d000007", "PUT", payway, "client", paywayV1, `{"id":"50f3ac249f6aef294d000007"}`},
			{payway + "?id=50f3ac249f6aef294d000007", "PUT", "/external/api/v0/accounts", "client", paywayV0, `{"id":"50f3ac249f6aef294d000007"}`},
		} {
			status, answer := h.send("GET", c.read, c.key, nil)
			if status != 200 {
				t.Fatalf("%s: %d %s", c.read, status, answer)
			}
			shown, all := parse[map[string]any](t, answer), parse[map[string]any](t, c.always)
			for _, m := range c.members {
				value := sendable(&m, shown[m.name])
				if value == nil {
					continue
				}
				all[m.name] = value
				one := parse[map[string]any](t, c.always)
				one[m.name] = value
				h.changesNothing(c.method, c.write, c.key, one)
			}
			if len(all) < 3 {
				t.Errorf("%s shows %v, which is too little to send back", c.read, all)
			}
			h.changesNothing(c.method, c.write, c.key, all)
			if c.key == "client" {
				all["atomic"] = false
				h.changesNothing(c.method, c.write, c.key, all)
			}
		}
	}
}

// sendable returns the part of a shown value that an update may have, or nil.
func sendable(m *member, shown any) any {
	object, ok := shown.(map[string]any)
	if m.readOnly || !ok {
		if m.readOnly || m.flag != nil {
			return nil
		}
		return shown
	}
	sent := map[string]any{}
	for _, inner := range m.members {
		if value := sendable(&inner, object[inner.name]); value != nil {
			sent[inner.name] = value
		}
	}
	return sent
}

func (h *harness) changesNothing(method, path, key string, body map[string]any) {
	h.t.Helper()
	data, err := json.Marshal(body)
	h.must(err)
	before := h.head()
	status, answer := h.send(method, path, key, strings.NewReader(string(data)))
	if status != 200 || h.head() != before {
		h.t.Errorf("%s %s %s: %d %s, %d events", method, path, data, status, answer, h.head()-before)
	}
}

// TestSocialSecurityNumbersAreFoundInEveryNotation looks for two people who were born
// a hundred years apart, by the ten digits that they share.
func TestSocialSecurityNumbersAreFoundInEveryNotation(t *testing.T) {
	h := newHarness(t)
	accounts := commands.NewAccounts(commands.Config{Store: h.store})
	born := map[string]ulid.ULID{"192612151234": ulid.Make(), "261215-1234": ulid.Make()}
	for stored, id := range born {
		claim := eventstore.ClaimChange{Claim: events.SocialSecurityNumberClaim(stored)}
		_, err := h.store.Append(t.Context(), events.AccountStream(id), 0, []eventstore.ClaimChange{claim}, nil)
		h.must(err)
	}
	for year, stored := range map[int]string{2026: "192612151234", 2027: "261215-1234"} {
		by, number, err := parseSelector("social_security_number=261215-1234")
		h.must(err)
		id, err := by.find(t.Context(), accounts, number, time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC))
		if err != nil || id != born[stored] {
			t.Errorf("in %d: %v, %v, want %v", year, id, err, born[stored])
		}
	}
}

// TestChangedValueIsValidated checks that unchanged values hide no wrong one.
func TestChangedValueIsValidated(t *testing.T) {
	h := newHarness(t)
	id := h.openOdd("anna", events.TypePrivate)
	h.key("client", events.KeyIssued{Client: "adeprimo", Scopes: []string{"/external/account/w"}})
	h.key("key", events.KeyIssued{Account: id, Scopes: []string{"read:account", "write:account"}})
	for _, c := range []struct {
		method, path, key, body string
		status                  int
		answer                  string
	}{
		{"PATCH", "/api/v2/me", "key", `{"languageCode":"en-GB","phoneNumber":"+4670001"}`, 400, `"errors":[{"pointer":"/phoneNumber"`},
		{"PATCH", "/api/v2/me", "key", `{"languageCode":"en-US","phoneNumber":"+4670000"}`, 400, `"errors":[{"pointer":"/languageCode"`},
		{"PATCH", "/api/v2/me", "key", `{"languageCode":"en-GB","languageCode":"en-GB"}`, 400, `"code":"duplicate_field"`},
		{"PATCH", "/api/v2/me", "key", `{"languageCode":""}`, 400, `"code":"empty"`},
		{"PATCH", "/api/v2/me", "key", `{"registrationIdentifier":{"value":"850231-3413","countryCode":"SE"}}`, 400, `/registrationIdentifier/value`},
		{"PATCH", "/v1/account", "key", `{"settings":{"currency":"DEM","timezone":"./UTC"}}`, 400, `settings.timezone`},
		{"PUT", "/external/api/v1/accounts", "client", `{"id":"50f3ac249f6aef294d000007","mobile_phone_number":"+4670000","birth_date":"2999-01-02"}`, 400, `"field":"birth_date"`},
		{"PUT", "/external/api/v1/accounts", "client", `{"id":"50f3ac249f6aef294d000007","atomic":false,"birth_date":"2999-01-01","email":"c,d@example.com"}`, 207,
			`"updated_fields":"birth_date","not_updated_fields":"email: invalid_format"`},
		{"PUT", "/external/api/v1/accounts", "client", `{"id":"50f3ac249f6aef294d000007","atomic":false,"address":{"first_name":"\u200b","last_name":"\u200c",
			"street":"S","zip_code":"1","city":"L","country_code":"NO","building":"A","floor":"2"}}`, 207,
			`"updated_fields":"","not_updated_fields":"address last_name: must_be_set"`},
	} {
		before := h.head()
		status, answer := h.send(c.method, c.path, c.key, strings.NewReader(c.body))
		if status != c.status || !strings.Contains(answer, c.answer) || h.head() != before {
			t.Errorf("%s: %d %s, want %d with %s", c.body, status, answer, c.status, c.answer)
		}
	}
}
