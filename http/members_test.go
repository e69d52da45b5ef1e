package http

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/commands"
	"konto/events"
)

// form is a route whose body has a table in DESIGN.md.
type form struct {
	route   string // as in the table's heading
	key     string
	members []member
	// valid is a body that the route accepts, and that changes nothing if the route
	// updates. A test adds the member that it is about.
	valid string
}

const (
	paywayAddressV0 = `"address":{"first_name":"Anna","last_name":"Ek","street":"Storgatan","zip_code":"83145","city":"Lund","country_code":"SE"}`
	paywayAddressV1 = `"address":{"first_name":"Anna","last_name":"Ek","street":"Storgatan","zip_code":"83145","city":"Lund","country_code":"SE","building":"A"}`
)

var forms = []form{
	{"PATCH /api/v2/me", "key", hostupBody, `{"registrationIdentifier":{"value":"850507-3412","countryCode":"SE"}}`},
	{"POST /api/v2/me/actions/change-email", "key", changeEmailBody, `{"newEmail":"NAME@new.example.com"}`},
	{"POST /api/v2/me/actions/confirm-email-change", "key", confirmEmailBody, `{"code":"000000"}`},
	{"POST /api/v2/me/actions/cancel-email-change", "key", cancelEmailBody, `{}`},
	{"POST /api/v2/me/actions/change-password", "key", changePasswordBody, `{"newPassword":"correct horse battery"}`},
	{"PUT /external/api/v1/accounts", "client", paywayV1, `{"id":"ID",` + paywayAddressV1 + `}`},
	{"PUT /external/api/v0/accounts", "client", paywayV0, `{"id":"ID",` + paywayAddressV0 + `}`},
	{"POST /external/api/v1/accounts", "client", paywayNew, `{"email":"NAME@new.example.com","password":"secret 1",` + paywayAddressV1 + `}`},
	{"PATCH /v1/account", "key", genericBody, `{}`},
	{"POST /v1/account/confirm-email", "key", confirmEmailBody, `{"code":"000000"}`},
}

// columns lists the columns of the tables. A nil value omits the member.
var columns = []struct {
	name  string
	value any
}{
	{"absent", nil}, {"null", jsontext.Value("null")}, {`""`, ""}, {"`__UNSET__`", "__UNSET__"}, {"wrong type", 7},
}

// everyField is an account with a value in each field that can be cleared.
const everyField = `{
	"firstName": "Anna", "lastName": "Ek", "companyName": "Ek AB", "alias": "anna", "countryCode": "SE", "phoneNumber": "+46734567890",
	"languageCode": "sv", "currencyCode": "SEK", "timeZone": "Europe/Stockholm", "accountType": "private", "vatNumber": "SE559999999901",
	"invoiceReference": "42", "registrationIdentifier": {"value": "850507-3412", "countryCode": "SE", "type": "personal_identifier"},
	"birthDate": "1985-05-07", "accountOrigin": "Posten", "address": {
		"firstName": "Anna", "lastName": "Ek", "street": "Storgatan", "building": "A", "countryCode": "SE", "postalCode": "83145",
		"city": "Lund", "state": "Skåne", "streetNumber": "1", "staircase": "B", "floor": "2", "apartmentNumber": "3",
		"mobileNumber": "1", "phoneNumber": "2", "citizenshipCountryCode": "SE", "dropbox": "4", "companyName": "Ek AB",
		"companyReference": "5", "companyDepartment": "6", "companyCrn": "7", "companyVatNumber": "8", "careOf": "Bo"}}`

// TestDesignSaysWhatEachMemberDoes reads the tables of DESIGN.md and sends a request
// for each of their cells.
func TestDesignSaysWhatEachMemberDoes(t *testing.T) {
	tables := memberTables(t)
	h := newHarness(t)
	h.key("client", events.KeyIssued{Client: "adeprimo", Scopes: []string{"/external/account/w"}})
	for n, f := range forms {
		rows := tables[f.route]
		for i, column := range columns {
			name := fmt.Sprintf("a%d-%d", n, i)
			account := h.open(name, commands.Open{Email: name + "@example.com", Profile: parse[events.ProfileUpdated](t, everyField)})
			h.key("key", events.KeyIssued{Account: account, Scopes: []string{"read:account", "write:account"}})
			eachMember(f.members, "", func(pointer string, m *member) {
				row := strings.ReplaceAll(pointer[1:], "/", ".")
				if m.readOnly && rows[row] == nil {
					row = otherMembers
				}
				if rows[row] == nil {
					t.Errorf("%s has no row for %s", f.route, pointer)
					return
				}
				got := h.try(&f, name, pointer, column.value)
				if want := rows[row][i]; got != want {
					t.Errorf("%s, %s of %s: %q, DESIGN.md says %q", f.route, column.name, pointer, got, want)
				}
			})
		}
	}
}

// TestEveryBodyHasATableInDesign compares the forms with the routes.
func TestEveryBodyHasATableInDesign(t *testing.T) {
	known := map[string]bool{"POST /oauth/token": true} // a form of RFC 6749, not JSON
	for _, f := range forms {
		known[f.route] = true
	}
	for _, r := range routes() {
		if name := r.method + " " + r.path; r.method != http.MethodGet && !known[name] {
			t.Errorf("%s has no table in DESIGN.md", name)
		}
	}
}

func eachMember(members []member, at string, visit func(pointer string, m *member)) {
	for i := range members {
		visit(at+"/"+members[i].name, &members[i])
		eachMember(members[i].members, at+"/"+members[i].name, visit)
	}
}

// try sends a form's valid body with one member set to value, or omitted. It returns
// the effect in the words of the tables.
func (h *harness) try(f *form, name, pointer string, value any) string {
	h.t.Helper()
	text := strings.NewReplacer("ID", h.words[name+".payway"], "NAME", fmt.Sprint(name, h.head())).Replace(f.valid)
	body := parse[map[string]any](h.t, text)
	set(body, strings.Split(pointer[1:], "/"), value)
	data, err := json.Marshal(body)
	h.must(err)
	method, path, _ := strings.Cut(f.route, " ")
	before := h.head()
	status, answer := h.send(method, path, f.key, strings.NewReader(string(data)))
	if status >= 300 {
		return refusal(h.t, status, answer, pointer)
	}
	var stored strings.Builder
	for _, e := range h.since(before) {
		stored.WriteString(string(e.Data))
	}
	switch {
	case strings.Contains(stored.String(), "__UNSET__"):
		return "sets"
	case strings.Contains(stored.String(), "null"):
		return "clears"
	}
	return "keeps"
}

// set puts a value at a path, or deletes the present one.
func set(body map[string]any, path []string, value any) {
	for ; len(path) > 1; path = path[1:] {
		inner, ok := body[path[0]].(map[string]any)
		if !ok {
			inner = map[string]any{}
			body[path[0]] = inner
		}
		body = inner
	}
	if value == nil {
		delete(body, path[0])
		return
	}
	body[path[0]] = value
}

// refusal returns the code of a wrong member: HostUp's own, Payway's message if it is
// a code, or else the code of the answer.
func refusal(t testing.TB, status int, answer, pointer string) string {
	t.Helper()
	var e struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Error   string `json:"error"`
		Errors  []struct {
			Pointer string `json:"pointer"`
			Code    string `json:"code"`
		} `json:"errors"`
	}
	if err := json.Unmarshal([]byte(answer), &e); err != nil {
		t.Fatal(err)
	}
	for _, f := range e.Errors {
		if f.Pointer == pointer {
			return "`" + f.Code + "`"
		}
	}
	switch {
	case e.Error != "":
		return "`" + e.Error + "`"
	case e.Message == "must_be_set":
		return "`must_be_set`"
	}
	return "`" + e.Code + "`"
}

// otherMembers is the row of members that are known and never accepted.
const otherMembers = "all other known members"

var (
	tableHeading = regexp.MustCompile("^### `([A-Z]+ /[^`]+)`$")
	tableName    = regexp.MustCompile("`([^`]+)`")
)

// memberTables reads the tables of DESIGN.md: by route and member, the cells of a row.
func memberTables(t *testing.T) map[string]map[string][]string {
	t.Helper()
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	tables, route := map[string]map[string][]string{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if m := tableHeading.FindStringSubmatch(line); m != nil {
			route = m[1]
			tables[route] = map[string][]string{}
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if route == "" || !strings.HasPrefix(line, "|") || len(cells) != len(columns)+1 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		for _, name := range rowNames(cells[0]) {
			tables[route][name] = cells[1:]
		}
	}
	return tables
}

func rowNames(cell string) (names []string) {
	if cell == otherMembers {
		return []string{cell}
	}
	for _, m := range tableName.FindAllStringSubmatch(cell, -1) {
		names = append(names, m[1])
	}
	return names
}
