package http

import (
	"strings"
	"testing"

	"konto/commands"
	"konto/events"
)

// TestSameUpdateThroughEachContractStoresTheSameEvents requests the same change of
// the same account through every contract that can express it.
func TestSameUpdateThroughEachContractStoresTheSameEvents(t *testing.T) {
	const hostup, payway, earlier, generic = "PATCH /api/v2/me", "PUT /external/api/v1/accounts", "PUT /external/api/v0/accounts", "PATCH /v1/account"
	const id = `"id":"50f3ac249f6aef294d000007"`
	for name, test := range map[string]struct {
		requests map[string]string
		want     string
	}{
		"a name": {map[string]string{
			hostup:  `{"firstName":"Eva","lastName":"Ek"}`,
			payway:  `{` + id + `,"first_name":"Eva","last_name":"Ek"}`,
			earlier: `{` + id + `,"last_name":"Ek","first_name":"Eva"}`,
			generic: `{"name":"Eva Ek"}`,
		}, `ProfileUpdated.v1 {"firstName":"Eva","lastName":"Ek"}`},
		"a phone number": {map[string]string{
			hostup:  `{"phoneNumber":"073-456 78 90"}`,
			payway:  `{` + id + `,"mobile_phone_number":"0734567890"}`,
			earlier: `{` + id + `,"mobile_phone_number":"+46734567890"}`,
		}, `ProfileUpdated.v1 {"phoneNumber":"+46734567890"}`},
		"a language": {map[string]string{
			hostup:  `{"languageCode":"fi"}`,
			generic: `{"settings":{"language":"fi"}}`,
		}, `ProfileUpdated.v1 {"languageCode":"fi"}`},
		"a company": {map[string]string{
			hostup: `{"companyName":"Ek AB"}`,
			payway: `{` + id + `,"company_name":"Ek AB"}`,
		}, `ProfileUpdated.v1 {"companyName":"Ek AB"}`},
		"no company any more": {map[string]string{
			hostup: `{"companyName":null}`,
			payway: `{` + id + `,"company_name":""}`,
		}, `ProfileUpdated.v1 {"companyName":null}`},
		"a street": {map[string]string{
			hostup:  `{"address":{"street":"Storgatan","postalCode":"83145","city":"Lund"}}`,
			payway:  `{` + id + `,"address":{"first_name":"Anna","last_name":"Ek","street":"Storgatan","building":"A","country_code":"SE","zip_code":"83145","city":"Lund"}}`,
			earlier: `{` + id + `,"address":{"first_name":"Anna","last_name":"Ek","street":"Storgatan","country_code":"SE","zip_code":"83145","city":"Lund"}}`,
		}, `ProfileUpdated.v1 {"address":{"street":"Storgatan","postalCode":"83145","city":"Lund"}}`},
		"an email address": {map[string]string{
			payway:  `{` + id + `,"email":"eva@example.com"}`,
			earlier: `{` + id + `,"email":"eva@example.com"}`,
			generic: `{"email":"eva@example.com"}`,
		}, `EmailChanged.v1 {"previousEmail":"anna@example.com","newEmail":"eva@example.com","how":"direct"}`},
		"a name and an email address": {map[string]string{
			payway:  `{` + id + `,"email":"eva@example.com","first_name":"Eva","last_name":"Ek"}`,
			generic: `{"email":"eva@example.com","name":"Eva Ek"}`,
		}, `ProfileUpdated.v1 {"firstName":"Eva","lastName":"Ek"}` + "\n" +
			`EmailChanged.v1 {"previousEmail":"anna@example.com","newEmail":"eva@example.com","how":"direct"}`},
	} {
		for route, request := range test.requests {
			t.Run(name+" by "+route, func(t *testing.T) {
				h := intentHarness(t)
				method, path, _ := strings.Cut(route, " ")
				key := "key"
				if method == "PUT" {
					key = "client"
				}
				before := h.head()
				if status, answer := h.send(method, path, key, strings.NewReader(request)); status != 200 {
					t.Fatalf("%d %s", status, answer)
				}
				var got []string
				for _, e := range h.since(before) {
					got = append(got, e.Type+" "+string(e.Data))
				}
				if strings.Join(got, "\n") != test.want {
					t.Errorf("stored %s", got)
				}
			})
		}
	}
}

// intentHarness has an account whose address needs only members that all contracts
// have.
func intentHarness(t *testing.T) *harness {
	h := newHarness(t)
	var p events.ProfileUpdated
	p.FirstName, p.Address.FirstName, p.Address.LastName = events.Set("Anna"), events.Set("Anna"), events.Set("Ek")
	p.CompanyName = events.Set("Old AB")
	p.Address.Building, p.Address.CountryCode = events.Set("A"), events.Set("SE")
	id := h.open("anna", commands.Open{Email: "anna@example.com", PaywayID: "50f3ac249f6aef294d000007", Profile: p})
	h.key("key", events.KeyIssued{Account: id, Scopes: []string{"write:account"}})
	h.key("client", events.KeyIssued{Client: "adeprimo", Scopes: []string{"/external/account/w"}})
	return h
}
