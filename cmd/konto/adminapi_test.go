package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	natsgo "github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// adminDocument is the OpenAPI document, with which every answer of these tests must agree.
var adminDocument = sync.OnceValues(func() (map[string]any, *jsonschema.Compiler) {
	file, err := os.Open("../../http/openapi/admin.json")
	if err != nil {
		panic(err)
	}
	defer file.Close()
	root, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		panic(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("konto:admin", root); err != nil {
		panic(err)
	}
	return root.(map[string]any), compiler
})

// compiling guards the compiler, which these tests share.
var compiling sync.Mutex

// administration is a running server with keys of both roles.
type administration struct {
	*testing.T
	server            *running
	folder, url, nats string
	operator, viewer  string // tokens
	operatorID        string
}

func administered(t *testing.T, args ...string) *administration {
	a := &administration{T: t, folder: t.TempDir()}
	a.server, a.url, a.nats = serve(t, a.folder, args...)
	key := mustJSON(t, "key", "issue", "--admin", "eva", "--role", "operator", "--data", a.folder)
	a.operator, a.operatorID = key["token"].(string), key["id"].(string)
	a.viewer = mustJSON(t, "key", "issue", "--admin", "bo", "--role", "viewer", "--data", a.folder)["token"].(string)
	return a
}

// ask sends a request to the API, checks that the answer is documented, and returns it.
func (a *administration) ask(token, method, path, body string) (int, string) {
	a.Helper()
	status, text := send(a.T, method, a.url+"/admin/v1"+path, token, body)
	a.documented(method, path, status, text)
	return status, text
}

// documented checks an answer against the OpenAPI document.
func (a *administration) documented(method, path string, status int, text string) {
	a.Helper()
	root, compiler := adminDocument()
	path, _, _ = strings.Cut(path, "?")
	for template, item := range root["paths"].(map[string]any) {
		pattern := "^" + regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), "[^/]+") + "$"
		fixed := !strings.Contains(template, "{") && template == "/admin/v1"+path
		if !fixed && (!strings.Contains(template, "{") || !regexp.MustCompile(pattern).MatchString("/admin/v1"+path)) {
			continue
		}
		operation, ok := item.(map[string]any)[strings.ToLower(method)].(map[string]any)
		if !ok {
			continue
		}
		responses := operation["responses"].(map[string]any)
		response, ok := responses[strconv.Itoa(status)].(map[string]any)
		if !ok {
			a.Errorf("%s %s: %d is not documented: %s", method, path, status, text)
			return
		}
		at := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(template) + "/" + strings.ToLower(method) + "/responses/" + strconv.Itoa(status)
		if ref, ok := response["$ref"].(string); ok {
			at = strings.TrimPrefix(ref, "#")
		}
		compiling.Lock()
		defer compiling.Unlock()
		schema, err := compiler.Compile("konto:admin#" + at + "/content/application~1json/schema")
		if err == nil {
			var value any
			if value, err = jsonschema.UnmarshalJSON(strings.NewReader(text)); err == nil {
				err = schema.Validate(value)
			}
		}
		if err != nil {
			a.Errorf("%s %s: %v\n%s", method, path, err, text)
		}
		return
	}
	a.Errorf("no operation is documented for %s %s", method, path)
}

// must is ask with the operator's key for a request that succeeds.
func (a *administration) must(method, path, body string) map[string]any {
	a.Helper()
	status, text := a.ask(a.operator, method, path, body)
	if status >= 300 {
		a.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return object(a.T, text)
}

// items returns the items of a page.
func items(page map[string]any) (all []map[string]any) {
	for _, item := range page["items"].([]any) {
		all = append(all, item.(map[string]any))
	}
	return all
}

func (a *administration) open(email string) string {
	a.Helper()
	return a.must("POST", "/accounts", `{"email":"`+email+`","firstName":"Anna","lastName":"Svensson"}`)["id"].(string)
}

func TestOnlyKeysOfAdministratorsAreAdmitted(t *testing.T) {
	t.Parallel()
	a := administered(t)
	id := a.open("anna@example.com")
	if status, text := a.ask(a.viewer, "GET", "/accounts", ""); status != 200 {
		t.Errorf("a viewer reads: %d %s", status, text)
	}
	if status, _ := a.ask(a.viewer, "POST", "/accounts/find", `{"ref":"anna@example.com"}`); status != 200 {
		t.Errorf("a viewer finds: %d", status)
	}
	for _, path := range []string{"/accounts", "/keys", "/accounts/" + id + "/erase", "/third-parties", "/keys/" + a.operatorID + "/revoke"} {
		if status, _ := a.ask(a.viewer, "POST", path, "{}"); status != 403 {
			t.Errorf("a viewer changes %s: %d", path, status)
		}
	}
	others := map[string]string{
		"an account's key": a.must("POST", "/keys", `{"account":"`+id+`","scopes":["read:account","write:account"]}`)["token"].(string),
		"a client's":       a.must("POST", "/keys", `{"client":"crm","scopes":["/external/account/r"]}`)["token"].(string),
		"a consumer's":     a.must("POST", "/keys", `{"consumer":"billing"}`)["token"].(string),
		"a sender's":       a.must("POST", "/keys", `{"inbound":"registry"}`)["token"].(string),
		"a session's":      a.must("POST", "/sessions", `{"admin":"eva","roles":["account-admin"]}`)["cookie"].(string),
	}
	for whose, token := range others {
		if status, _ := a.ask(token, "GET", "/status", ""); status != 403 {
			t.Errorf("%s: %d", whose, status)
		}
	}
	if status, _ := a.ask("konto_nobody", "GET", "/status", ""); status != 401 {
		t.Errorf("an unknown key: %d", status)
	}
	// A session's cookie is no way in.
	r, err := http.NewRequestWithContext(t.Context(), "GET", a.url+"/admin/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "hostup_session", Value: a.operator})
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 401 {
		t.Errorf("a cookie: %d", answer.StatusCode)
	}
	for _, path := range []string{"/v1/account", "/api/v2/me", "/external/api/v1/accounts?email=anna@example.com"} {
		if status, _ := send(t, "GET", a.url+path, a.operator, ""); status != 403 {
			t.Errorf("an administrator's key at %s: %d", path, status)
		}
	}
	token, err := http.NewRequestWithContext(t.Context(), "POST", a.url+"/oauth/token", strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		t.Fatal(err)
	}
	token.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	token.SetBasicAuth(a.operatorID, a.operator)
	if answer, err = http.DefaultClient.Do(token); err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 400 {
		t.Errorf("an access token for an administrator: %d", answer.StatusCode)
	}
	for _, key := range []string{a.operator, others["an account's key"]} {
		if nc, err := natsConnect(a.nats, key); err == nil {
			nc.Close()
			t.Error("NATS admits a key that is no consumer's")
		}
	}
	if status, text := send(t, "GET", a.url+"/admin/v1/nothing", a.operator, ""); status != 404 || !strings.Contains(text, "not_found") {
		t.Errorf("an unknown path: %d %s", status, text)
	}
	if status, _ := send(t, "PUT", a.url+"/admin/v1/accounts", a.operator, "{}"); status != 405 {
		t.Errorf("another method: %d", status)
	}
}

func TestAdministratorsKeyEndsAtOnce(t *testing.T) {
	t.Parallel()
	a := administered(t)
	for range 10 {
		key := a.must("POST", "/keys", `{"admin":"eva","role":"viewer"}`)
		token := key["token"].(string)
		if status, _ := a.ask(token, "GET", "/status", ""); status != 200 {
			t.Fatalf("a new key: %d", status)
		}
		a.must("POST", "/keys/"+key["id"].(string)+"/revoke", "")
		if status, _ := a.ask(token, "GET", "/status", ""); status != 401 {
			t.Fatalf("a revoked key: %d", status)
		}
	}
}

func TestExpiredKeysAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	a := administered(t)
	a.open("anna@example.com")
	soon := time.Now().Add(3 * time.Second)
	expires := `,"label":"short","expiresAt":"` + soon.Format(time.RFC3339Nano) + `"}`
	key := func(holder string) string { return a.must("POST", "/keys", "{"+holder+expires)["token"].(string) }
	admin, account := key(`"admin":"eva","role":"viewer"`), key(`"account":"anna@example.com","scopes":["read:account"]`)
	client, consumer, sender := key(`"client":"crm","scopes":["/external/account/r"]`), key(`"consumer":"billing"`), key(`"inbound":"registry"`)
	var connections []*natsClient
	for _, token := range []string{consumer, sender} {
		nc, err := natsConnect(a.nats, token)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		connections = append(connections, nc)
	}
	over := func(path, token string) bool {
		status, _ := send(t, "GET", a.url+path, token, "")
		return status == 401
	}
	const payway = "/external/api/v1/accounts?email=anna@example.com"
	if over("/admin/v1/status", admin) || over("/v1/account", account) || over(payway, client) {
		t.Error("a key is refused before it expires")
	}
	for _, nc := range connections {
		select {
		case <-nc.closed:
		case <-time.After(patience):
			t.Error("a NATS connection outlives its key")
		}
	}
	if !over("/admin/v1/status", admin) || !over("/v1/account", account) || !over(payway, client) {
		t.Error("an expired key is accepted")
	}
	for _, token := range []string{consumer, sender} {
		if nc, err := natsConnect(a.nats, token); err == nil {
			nc.Close()
			t.Error("NATS accepts an expired key")
		}
	}
	expired := 0
	for _, c := range items(a.must("GET", "/keys", "")) {
		if c["state"] == "expired" && c["label"] == "short" {
			expired++
		}
	}
	if expired != 5 {
		t.Errorf("%d keys are shown as expired", expired)
	}
}

// natsClient is a connection to NATS. closed is closed with it.
type natsClient struct {
	*natsgo.Conn
	closed chan struct{}
}

func natsConnect(url, token string) (*natsClient, error) {
	closed := make(chan struct{})
	nc, err := natsgo.Connect(url, natsgo.Token(token), natsgo.NoReconnect(), natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) {}), natsgo.ClosedHandler(func(*natsgo.Conn) { close(closed) }))
	return &natsClient{nc, closed}, err
}

func TestPagesAreCompleteWhileAccountsAreAdded(t *testing.T) {
	t.Parallel()
	a := administered(t)
	var before []string
	for i := range 25 {
		before = append(before, a.open(fmt.Sprintf("a%d@example.com", i)))
	}
	var seen []string
	pages := 0
	for after := ""; ; pages++ {
		page := a.must("GET", "/accounts?limit=7&after="+after, "")
		for _, account := range items(page) {
			seen = append(seen, account["id"].(string))
		}
		if pages < 5 {
			a.open(fmt.Sprintf("b%d@example.com", pages))
		}
		next, more := page["next"].(string)
		if after = next; !more {
			break
		}
	}
	if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
		t.Errorf("an account is repeated: %v", seen)
	}
	for _, id := range before {
		if !slices.Contains(seen, id) {
			t.Errorf("%s is missing", id)
		}
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "after=x", "page=2", "limit=1&limit=2"} {
		if status, _ := a.ask(a.operator, "GET", "/accounts?"+query, ""); status != 400 {
			t.Errorf("%s: %d", query, status)
		}
	}
	// The pages of events, of one type and of one account, are those of the whole log.
	var opened, own int
	for _, query := range []string{"type=AccountOpened&", "account=" + before[3] + "&"} {
		for after := "0"; ; {
			page := a.must("GET", "/events?limit=10&"+query+"after="+after, "")
			for _, e := range items(page) {
				if e["type"] == "AccountOpened.v1" && strings.HasPrefix(query, "type") {
					opened++
				}
				if e["stream"] == "account-"+before[3] && strings.HasPrefix(query, "account") {
					own++
				}
			}
			next, more := page["next"].(string)
			if after = next; !more {
				break
			}
		}
	}
	if want := len(before) + min(pages+1, 5); opened != want || own != 1 {
		t.Errorf("%d accounts opened instead of %d, %d events of one account", opened, want, own)
	}
	if listed := mustLines(t, "account", "list", "--limit", "3", "--after", before[0], "--data", a.folder); len(listed) != 3 || listed[0]["id"] != seen[1] {
		t.Errorf("the command lists %v", listed)
	}
}

func TestAccountsAreFoundShownAndErased(t *testing.T) {
	t.Parallel()
	a := administered(t)
	id := a.open("anna.svensson@example.com")
	a.open("bo@example.com")
	a.must("POST", "/accounts/"+id+"/facts", `{"activeDomains":3}`)
	if was := a.must("GET", "/accounts/"+id+"?at=1", ""); was["version"] != 1.0 || len(was["facts"].(map[string]any)) != 0 {
		t.Errorf("at version 1: %v", was)
	}
	if status, text := a.ask(a.operator, "POST", "/accounts", `{"email":"bo@example.com"}`); status != 409 || !strings.Contains(text, "email: ") {
		t.Errorf("a taken address: %d %s", status, text)
	}
	if status, text := a.ask(a.operator, "POST", "/keys", `{"client":"crm","role":"root","scopes":["x"]}`); status != 400 || !strings.Contains(text, "role: ") || !strings.Contains(text, "scopes: ") {
		t.Errorf("a wrong key: %d %s", status, text)
	}
	status, found := send(t, "POST", a.url+"/admin/v1/accounts/search", a.viewer, `{"text":"SVENSSON@"}`)
	if lines := strings.Split(strings.TrimSpace(found), "\n"); status != 200 || len(lines) != 2 || object(t, lines[0])["id"] != id || lines[1] != `{"found":1}` {
		t.Errorf("%d, found %s", status, found)
	}
	history := items(a.must("GET", "/accounts/"+id+"/history", ""))
	for _, entry := range history {
		if actor := entry["actor"].(map[string]any); actor["kind"] != "admin" || actor["id"] != a.operatorID || entry["contract"] != "admin" {
			t.Errorf("an event is by %v", actor)
		}
	}
	if page := a.must("GET", "/accounts/"+id+"/history?limit=1&after=1", ""); len(history) != 2 || items(page)[0]["version"] != 2.0 || page["next"] != nil {
		t.Errorf("%v, page %v", history, page)
	}
	for path, want := range map[string]int{
		"/accounts/anna.svensson@example.com": 400, "/keys?account=anna@example.com": 400, "/accounts/01HXA3B4C5D6E7F8G9H0J1K2M3": 404,
		"/accounts/nonsense": 400, "/accounts/" + id + "?at=9": 404, "/accounts/" + id + "?at=2001-01-01": 404, "/accounts/" + id + "?at=x": 400,
	} {
		if status, text := a.ask(a.viewer, "GET", path, ""); status != want || strings.Contains(text, a.folder) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	const user = `{"issuer":"https://id.example.com","subject":"248289761001"}`
	if linked := a.must("POST", "/accounts/"+id+"/link", user)["identities"].([]any); len(linked) != 1 {
		t.Errorf("linked are %v", linked)
	}
	if linked := a.must("POST", "/accounts/"+id+"/unlink", user)["identities"].([]any); len(linked) != 0 {
		t.Errorf("linked are still %v", linked)
	}
	account := a.must("GET", "/accounts/"+id, "")
	for _, ref := range []string{id, account["clientId"].(string), account["accountId"].(string), account["paywayId"].(string), "ANNA.svensson@example.com"} {
		if found := a.must("POST", "/accounts/find", `{"ref":"`+ref+`"}`); found["id"] != id {
			t.Errorf("%s finds %v", ref, found)
		}
	}
	for _, body := range []string{`{}`, `{"confirm":"yes"}`, `{"confirm":"` + id + `","x":1}`} {
		if status, _ := a.ask(a.operator, "POST", "/accounts/"+id+"/erase", body); status != 400 {
			t.Errorf("erase with %s: %d", body, status)
		}
	}
	if erased := a.must("POST", "/accounts/"+id+"/erase", `{"confirm":"`+id+`"}`); erased["proof"] == "" {
		t.Errorf("erased: %v", erased)
	}
	if status, _ := a.ask(a.operator, "POST", "/accounts/find", `{"ref":"anna.svensson@example.com"}`); status != 404 {
		t.Errorf("an erased account is found: %d", status)
	}
	listed := items(a.must("GET", "/accounts", ""))
	if len(listed) != 2 || listed[0]["erased"] != true {
		t.Errorf("listed: %v", listed)
	}
	if printed := must(t, "account", "list", "--data", a.folder); !strings.HasPrefix(printed, "ID ") || !strings.Contains(printed, "(erased)") {
		t.Errorf("printed: %s", printed)
	}
	a.audited(t, "account open", "account facts", "account erase", "key issue")
	if log := a.server.stderr.String(); strings.Contains(log, "svensson") || strings.Contains(log, "bo@example.com") {
		t.Errorf("the log has an address: %s", log)
	}
}

// audited checks that acts of the operator's key, and of the command line, were logged.
func (a *administration) audited(t *testing.T, acts ...string) {
	t.Helper()
	log := a.server.stderr.String()
	for _, act := range acts {
		actor := `actor="admin ` + a.operatorID + `"`
		if act == "key issue" {
			actor = "actor=operator"
		}
		if !regexp.MustCompile(`msg=admin ` + actor + ` act="` + act + `" request=req_\w{26} \w+=\w{26}\n`).MatchString(log) {
			t.Errorf("no line says %s by %s: %s", act, actor, log)
		}
	}
}

func TestThirdPartiesAreAdministered(t *testing.T) {
	t.Parallel()
	a := administered(t)
	id := a.open("anna@example.com")
	crm := a.must("POST", "/third-parties", `{"name":"crm","url":"https://127.0.0.1:1/?secret=x"}`)
	if listed := items(a.must("GET", "/third-parties", "")); len(listed) != 1 || strings.Contains(listed[0]["url"].(string), "secret") {
		t.Errorf("listed: %v", listed)
	}
	a.must("POST", "/third-parties/crm/pause", "")
	if p := a.must("GET", "/third-parties/crm", ""); p["state"] != "paused" {
		t.Errorf("paused: %v", p)
	}
	a.must("POST", "/third-parties/crm/resume", "")
	if rotated := a.must("POST", "/third-parties/crm/rotate-secret", `{}`); rotated["secret"] == crm["secret"] {
		t.Error("the secret is the same")
	}
	if sent := a.must("POST", "/third-parties/crm/test", ""); sent["delivered"] != false {
		t.Errorf("sent: %v", sent)
	}
	if standing := a.must("GET", "/third-parties/crm/accounts/"+id, ""); standing["inSync"] != true {
		t.Errorf("standing: %v", standing)
	}
	if page := a.must("GET", "/deliveries?thirdParty=crm&status=failed", ""); len(items(page)) != 0 {
		t.Errorf("deliveries: %v", page)
	}
	a.must("POST", "/third-parties/crm/replay", `{"from":1}`)
	for _, wrong := range []struct {
		path, body string
		want       int
	}{
		{"/third-parties", `{"name":"crm","url":"https://crm.example.com/"}`, 409},
		{"/third-parties", `{"name":"CRM","url":"https://crm.example.com/"}`, 400},
		{"/third-parties/nobody/pause", "", 404},
		{"/third-parties/crm/redeliver", `{"event":"01HXA3B4C5D6E7F8G9H0J1K2M3"}`, 404},
		{"/third-parties/crm/replay", `{"from":0}`, 400},
		{"/third-parties/crm/remove", `{"confirm":"crm"}`, 400},
	} {
		if status, text := a.ask(a.operator, "POST", wrong.path, wrong.body); status != wrong.want {
			t.Errorf("%s %s: %d %s", wrong.path, wrong.body, status, text)
		}
	}
	a.must("POST", "/third-parties/crm/remove", `{"confirm":"`+crm["id"].(string)+`"}`)
	if status, _ := a.ask(a.operator, "GET", "/third-parties/crm", ""); status != 404 {
		t.Errorf("removed: %d", status)
	}
	a.audited(t, "third-party add", "third-party pause", "third-party resume", "third-party test", "third-party remove")
	if s := a.must("GET", "/status", ""); len(s["followers"].([]any)) != 3 || s["head"].(float64) < 5 {
		t.Errorf("status: %v", s)
	}
}

func TestLastUseOfAKeyIsShown(t *testing.T) {
	t.Parallel()
	a := administered(t)
	key := a.must("POST", "/keys", `{"admin":"ida","role":"viewer","label":"Ida's phone"}`)
	path := "/keys/" + key["id"].(string)
	if shown := a.must("GET", path, ""); shown["lastUsed"] != nil || shown["label"] != "Ida's phone" {
		t.Errorf("before: %v", shown)
	}
	a.ask(key["token"].(string), "GET", "/status", "")
	if shown := a.must("GET", path, ""); shown["lastUsed"] == nil {
		t.Errorf("after: %v", shown)
	}
	if printed := must(t, "key", "list", "--data", a.folder); !strings.Contains(printed, time.Now().UTC().Format(time.DateOnly)) || !strings.Contains(printed, `viewer "Ida's phone"`) {
		t.Errorf("printed: %s", printed)
	}
}

func TestLiveEventsResumeAndEndWithTheKey(t *testing.T) {
	t.Parallel()
	a := administered(t)
	a.open("a@example.com")
	key := a.must("POST", "/keys", `{"admin":"eva","role":"viewer"}`)
	token := key["token"].(string)
	first := a.live(token, "?type=AccountOpened&after=0", "")
	position, email := first.next()
	if email != "a@example.com" {
		t.Fatalf("first: %s", email)
	}
	a.open("b@example.com")
	if _, email := first.next(); email != "b@example.com" {
		t.Errorf("then: %s", email)
	}
	first.body.Close()
	a.open("c@example.com")
	again := a.live(token, "?type=AccountOpened&after=0", position)
	for _, want := range []string{"b@example.com", "c@example.com"} {
		if _, email := again.next(); email != want {
			t.Errorf("after the first: %s, want %s", email, want)
		}
	}
	if status, text := a.ask(token, "GET", "/events/live?after=1000000", ""); status != 400 {
		t.Errorf("after a position beyond the log's end: %d %s", status, text)
	}
	fromNow := a.live(token, "?type=AccountOpened", "")
	a.open("d@example.com")
	if _, email := fromNow.next(); email != "d@example.com" {
		t.Errorf("from now on: %s", email)
	}
	a.must("POST", "/keys/"+key["id"].(string)+"/revoke", "")
	if _, err := io.ReadAll(fromNow.lines); err != nil {
		t.Errorf("the stream of a revoked key: %v", err)
	}
	// A server that stops does not wait for streams.
	a.live(a.viewer, "", "")
	if status := a.server.stop(); status != exitDone {
		t.Errorf("exit %d", status)
	}
}

// liveStream is an open stream of events.
type liveStream struct {
	*testing.T
	body  io.Closer
	lines *bufio.Reader
}

func (a *administration) live(token, query, last string) *liveStream {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), patience)
	a.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", a.url+"/admin/v1/events/live"+query, nil)
	if err != nil {
		a.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { answer.Body.Close() })
	if media := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || media != "text/event-stream" {
		a.Fatalf("%d %s", answer.StatusCode, media)
	}
	return &liveStream{a.T, answer.Body, bufio.NewReader(answer.Body)}
}

// next returns the position and the address of the next event.
func (s *liveStream) next() (position, email string) {
	s.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.Fatal(err)
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			position = strings.TrimSpace(id)
		}
		text, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e struct {
			Data struct{ Email string }
		}
		if err := json.Unmarshal([]byte(text), &e, json.MatchCaseInsensitiveNames(true)); err != nil {
			s.Fatal(err)
		}
		return position, e.Data.Email
	}
}

func TestAdministrationMayHaveAnAddressOfItsOwn(t *testing.T) {
	t.Parallel()
	a := administered(t, "--admin-http", "127.0.0.1:0")
	public := a.url
	a.url = strings.TrimSuffix(a.server.stderr.find(t, regexp.MustCompile(`administrators are answered at (http://\S+)/admin/v1`))[1], "/")
	if status, _ := a.ask(a.viewer, "GET", "/status", ""); status != 200 {
		t.Errorf("%d", status)
	}
	if status, _ := send(t, "GET", public+"/admin/v1/status", a.viewer, ""); status != 404 {
		t.Errorf("the public address: %d", status)
	}
	if status, _ := send(t, "GET", a.url+"/v1/account", a.viewer, ""); status != 404 {
		t.Errorf("a contract at the administrators' address: %d", status)
	}
	if status, _ := send(t, "GET", a.url+"/openapi/admin.json", "", ""); status != 200 {
		t.Errorf("the document: %d", status)
	}
}

// TestRequestsOfTheGuideAreAnsweredAsShown compares the members, because ids and times differ.
func TestRequestsOfTheGuideAreAnsweredAsShown(t *testing.T) {
	t.Parallel()
	a := administered(t)
	a.open("anna@example.com")
	a.open("bo@example.com")
	for heading, template := range map[string]string{
		"Find an account": "/accounts/find", "Give a key to an integrator": "/keys", "Read events in pages": "/events",
	} {
		request := strings.NewReplacer("http://127.0.0.1:8080", a.url, "TOKEN", a.operator, "curl ", "curl -sS ").Replace(readmeBlock(t, heading, "sh"))
		got := bash(t, request)
		status, method := 200, "GET"
		if strings.Contains(request, "-d '") {
			method = "POST"
		}
		if template == "/keys" {
			status = 201
		}
		a.documented(method, template, status, got)
		if want := readmeBlock(t, heading, "json"); !slices.Equal(members(t, got), members(t, want)) {
			t.Errorf("%s: answered %s, shown %s", heading, members(t, got), members(t, want))
		}
	}
}

// members returns the names of an answer's members, and of an account's profile.
func members(t *testing.T, text string) []string {
	v := object(t, text)
	names := slices.Sorted(maps.Keys(v))
	if profile, ok := v["profile"].(map[string]any); ok {
		names = append(names, slices.Sorted(maps.Keys(profile))...)
	}
	if list, ok := v["items"].([]any); ok {
		names = append(names, slices.Sorted(maps.Keys(list[0].(map[string]any)))...)
	}
	return names
}
