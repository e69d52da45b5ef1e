package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/eventstore/sqlite"
	"konto/projections/natscallout"
)

// aviary is a served data folder with one account, Kanarie, that left something
// unique in every place where personal data goes, and everything that konto sends to others.
type aviary struct {
	t        *testing.T
	folder   string
	server   *running
	url      string
	nats     string
	id       string
	key      string // the account's API key
	client   string // a Payway client's token
	canaries map[string]string
	echo     map[string]*echo // by format
	token    string           // of the consumer
	outside  bool             // the NATS servers are not konto's own
	mailed   func() bool      // whether the code for the pending address was written into a mail
}

// echo is a third party that answers with what it was sent.
type echo struct {
	mu     sync.Mutex
	bodies []string
}

// ServeHTTP implements http.Handler.
func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bodies = append(e.bodies, readableBody(r.Header.Get("Content-Type"), body))
	w.Write([]byte(readableBody(r.Header.Get("Content-Type"), body)))
}

// received waits until a request holds a text, and returns it.
func (e *echo) received(t *testing.T, text string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		e.mu.Lock()
		at := slices.IndexFunc(e.bodies, func(body string) bool { return strings.Contains(body, text) })
		if at >= 0 {
			defer e.mu.Unlock()
			return e.bodies[at]
		}
		e.mu.Unlock()
	}
	t.Fatalf("no third party received %s", text)
	return ""
}

func newAviary(t *testing.T) *aviary {
	t.Helper()
	a := unservedAviary(t)
	a.mailed = func() bool {
		return len(scan(t, a.folder, map[string]string{"": a.canaries["pending email"]})) > 0
	}
	a.serve()
	a.open()
	return a
}

// unservedAviary is an aviary of which no server runs and nothing is stored.
func unservedAviary(t *testing.T) *aviary {
	t.Helper()
	a := &aviary{t: t, folder: t.TempDir(), echo: map[string]*echo{}, canaries: map[string]string{
		"payway id": "c0ffee0123456789abcdef42", "ssn": "850507-3412", "company number": "556677-8899",
		"phone": "+46701740605", "vat number": "SE556677889901",
	}}
	for _, name := range []string{
		"email", "new email", "pending email", "first name", "last name", "company", "customer number", "alias", "BankID name",
		"BankID name by NATS", "pending order", "invoice reference", "street", "city", "state", "care of", "address name", "mobile",
		"building", "label", "admin", "request key", "name", "dead letter", "origin", "parent's label",
	} {
		a.canaries[name] = "kanarie" + strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(name), " ", ""), "'", "") + "q7z"
	}
	for _, name := range []string{"email", "new email", "pending email"} {
		a.canaries[name] += "@example.com"
	}
	return a
}

func (a *aviary) in(args ...string) []string { return append(args, "--data", a.folder) }

// open adds third parties of all formats, a consumer and another account.
func (a *aviary) open() {
	a.t.Helper()
	must(a.t, a.in("account", "open", "--email", "other@example.com", "--first-name", "Other")...)
	for format, events := range map[string]string{ // what each has words for
		"cloudevents": "AccountOpened ProfileUpdated EmailChanged EmailChangeRequested FactsRecorded",
		"payway":      "ProfileUpdated EmailChanged EmailChangeRequested FactsRecorded",
		"payway-ssi":  "ProfileUpdated EmailChanged FactsRecorded", "risc": "EmailChanged",
	} {
		a.echo[format] = &echo{}
		there := httptest.NewServer(a.echo[format])
		a.t.Cleanup(there.Close)
		args := a.in("third-party", "add", format, "--url", there.URL, "--format", format)
		for event := range strings.FieldsSeq(events) {
			args = append(args, "--event", event)
		}
		must(a.t, args...)
	}
	a.token = mustJSON(a.t, a.in("key", "issue", "--consumer", "watch")...)["token"].(string)
	a.client = mustJSON(a.t, a.in("key", "issue", "--client", "crm", "--scope", "/external/account/w", "--scope", "/external/account/r")...)["token"].(string)
}

func (a *aviary) serve() {
	a.t.Helper()
	a.server, a.url, a.nats = serve(a.t, a.folder, "--third-party-allow", "127.0.0.0/8")
}

func (a *aviary) stop() {
	a.t.Helper()
	if status := a.server.stop(); status != exitDone {
		a.t.Fatalf("ended with %d: %s", status, a.server.stderr)
	}
}

// live lets Kanarie use everything.
func (a *aviary) live() {
	a.t.Helper()
	c := a.canaries
	opened := object(a.t, a.with("correct horse battery staple", "account", "open", "--email", c["email"], "--first-name", c["first name"],
		"--last-name", c["last name"], "--customer-number", c["customer number"], "--payway-id", c["payway id"], "--password-stdin", "--json"))
	a.id = opened["id"].(string)
	a.key = mustJSON(a.t, a.in("key", "issue", "--account", a.id, "--scope", "read:account", "--scope", "write:account")...)["token"].(string)
	a.useContracts()
	a.useSessions()
	a.ask("POST", "/api/v2/me/actions/change-email", a.key, map[string]any{"newEmail": c["pending email"], "currentPassword": "correct horse battery staple"})
	a.eventually("the code was mailed", a.mailed)
	a.useFacts()
	for _, e := range a.echo {
		e.received(a.t, c["new email"])
	}
}

func (a *aviary) with(stdin string, args ...string) string {
	a.t.Helper()
	r := kontoWith(a.t, stdin, a.in(args...)...)
	if r.status != exitDone {
		a.t.Fatalf("%v: %s", args, r.stderr)
	}
	return r.stdout
}

func (a *aviary) useContracts() {
	a.t.Helper()
	c := a.canaries
	a.ask("PATCH", "/api/v2/me", a.key, map[string]any{
		"firstName": c["first name"], "companyName": c["company"], "phoneNumber": c["phone"], "vatNumber": c["vat number"],
		"invoiceReference": c["invoice reference"], "address": map[string]any{"street": c["street"], "city": c["city"], "state": c["state"]},
	})
	address := map[string]any{
		"first_name": c["address name"], "last_name": c["address name"], "street": c["street"], "zip_code": "12345", "city": c["city"],
		"country_code": "SE", "building": c["building"], "care_of": c["care of"], "mobile_number": c["mobile"],
	}
	a.ask("PUT", "/external/api/v1/accounts", a.client, map[string]any{
		"id": c["payway id"], "alias": c["alias"], "social_security_number": c["ssn"], "address": address, "email": c["new email"],
		"company_registration_number": c["company number"], "account_origin": c["origin"],
	})
	a.ask("PUT", "/external/api/v0/accounts", a.client, map[string]any{"id": c["payway id"], "last_name": c["last name"] + "2"})
	a.ask("PATCH", "/v1/account", a.key, map[string]any{"name": c["first name"] + " " + c["name"], "settings": map[string]any{"currency": "SEK"}})
}

func (a *aviary) useSessions() {
	a.t.Helper()
	c := a.canaries
	admin := mustJSON(a.t, a.in("session", "open", "--account", a.id, "--admin", c["admin"], "--role", "account-admin")...)["cookie"].(string)
	a.ask("PATCH", "/v1/account", admin, map[string]any{"settings": map[string]any{"timezone": "Europe/Stockholm"}})
	must(a.t, a.in("session", "open", "--account", a.id, "--delegated-by", "other@example.com", "--label", c["label"])...)
	must(a.t, a.in("session", "open", "--account", "other@example.com", "--delegated-by", a.id, "--label", c["parent's label"])...)
}

func (a *aviary) useFacts() {
	a.t.Helper()
	c := a.canaries
	must(a.t, a.in("account", "facts", a.id, "--bankid-name", c["BankID name"], "--pending-order", c["pending order"])...)
	registry := newSender(a.t, a.folder, a.nats, "registry", a.inbox("registry"))
	if a.outside {
		registry.subject += ".registry"
	}
	registry.send(fmt.Sprintf(`{"account":%q,"bankidName":%q}`, c["new email"], c["BankID name by NATS"]), "ce-id", c["request key"])
	registry.send(fmt.Sprintf(`{"account":"\u00%x%s","%s":1}`, c["email"][0], c["email"][1:], c["dead letter"]))
	a.eventually("facts were taken in", func() bool {
		return len(mustLines(a.t, a.in("inbound", "dead-letters")...)) == 1
	})
}

// inbox is the option that a NATS client of that name needs.
func (a *aviary) inbox(name string) natsgo.Option {
	if a.outside {
		return natsgo.CustomInboxPrefix(natscallout.InboxPrefix(name))
	}
	return natsgo.CustomInboxPrefix("_INBOX")
}

// ask makes a request that has to succeed.
func (a *aviary) ask(method, path, token string, body any) string {
	a.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(string(text)))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", path+a.canaries["request key"])
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode/100 != 2 {
		a.t.Fatalf("%s %s: %d %s, %v", method, path, answer.StatusCode, got, err)
	}
	return string(got)
}

func (a *aviary) eventually(what string, holds func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("%s: never", what)
		}
	}
}

// printed is everything that the commands print, with the keys that are there.
func (a *aviary) printed() string {
	a.t.Helper()
	var all strings.Builder
	for _, command := range [][]string{
		{"events", "list"}, {"account", "list"}, {"account", "history", a.id}, {"key", "list"}, {"session", "list"},
		{"third-party", "deliveries", "--limit", "1000"}, {"inbound", "dead-letters"},
	} {
		all.WriteString(konto(a.t, a.in(append(command, "--json")...)...).stdout)
	}
	return all.String()
}

// held is what the stream holds of the account.
func (a *aviary) held() (subjects []string) {
	a.t.Helper()
	js := jetStream(a.t, a.nats, a.token, a.inbox("watch"))
	stream, err := js.Stream(a.t.Context(), "KONTO")
	if err != nil {
		a.t.Fatal(err)
	}
	info, err := stream.Info(a.t.Context(), jetstream.WithSubjectFilter("konto.account."+a.id+".>"))
	if err != nil {
		a.t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(info.State.Subjects))
}

// TestErasedAccountLeavesNothing is the promise of konto account erase.
func TestErasedAccountLeavesNothing(t *testing.T) {
	a := newAviary(t)
	a.live()
	a.checkPrinted()
	erased := mustJSON(t, a.in("account", "erase", a.canaries["new email"], "--yes")...)
	a.checkReceived()
	a.checkProof(erased["proof"].(string))
	a.checkRefused()
	a.stop()
	a.checkScan()
	a.checkRebuilt()
}

// checkPrinted: before the erasure, the commands print everything.
func (a *aviary) checkPrinted() {
	a.t.Helper()
	before := mentions(a.printed(), a.canaries)
	for name := range a.canaries {
		// A request's name is kept as a hash, and found nowhere even before.
		if name != "request key" && !slices.Contains(before, name) {
			a.t.Errorf("%s is printed nowhere before the erasure: its canary proves nothing", name)
		}
	}
}

// checkReceived: everybody receives the erasure, and nothing else.
func (a *aviary) checkReceived() {
	a.t.Helper()
	want := map[string]string{
		"cloudevents": "AccountErased", "payway": "account_erased", "payway-ssi": "account_erased", "risc": "account-purged",
	}
	for format, word := range want {
		body := a.echo[format].received(a.t, word)
		found := mentions(body, a.canaries)
		if want := strings.HasPrefix(format, "payway"); want != slices.Equal(found, []string{"payway id"}) || !want && len(found) > 0 {
			a.t.Errorf("%s receives the erasure with %v: %s", format, found, body)
		}
	}
	a.eventually("the stream is purged", func() bool {
		return slices.Equal(a.held(), []string{"konto.account." + a.id + ".AccountErased"})
	})
	if found := mentions(a.printed(), a.canaries); len(found) > 0 {
		a.t.Errorf("a command still prints %v", found)
	}
}

// checkRefused: the credentials are worth nothing, and the address is free.
func (a *aviary) checkRefused() {
	a.t.Helper()
	if status, body := send(a.t, "GET", a.url+"/api/v2/me", a.key, ""); status != 401 {
		a.t.Errorf("the account's key is answered %d %s", status, body)
	}
	refused(a.t, exitFailed, konto(a.t, a.in("account", "show", a.id)...), "there is no account")
	refused(a.t, exitFailed, konto(a.t, a.in("account", "facts", a.id, "--active-domains", "1")...), "there is no account")
	must(a.t, a.in("account", "open", "--email", "free@example.com", "--customer-number", "4711")...)
}

// checkScan: no byte of the stopped folder, or of a backup, holds anything.
func (a *aviary) checkScan() {
	a.t.Helper()
	backup := filepath.Join(a.t.TempDir(), "backup.db")
	must(a.t, a.in("backup", backup)...)
	for _, folder := range []string{a.folder, filepath.Dir(backup)} {
		if found := scan(a.t, folder, a.canaries); len(found) > 0 {
			a.t.Errorf("found %v", found)
		}
		control := filepath.Join(folder, "control")
		if err := os.WriteFile(control, []byte(base64.StdEncoding.EncodeToString([]byte(a.canaries["email"]))), 0o600); err != nil {
			a.t.Fatal(err)
		}
		if found := scan(a.t, folder, a.canaries); len(found) == 0 {
			a.t.Error("the scan finds nothing at all")
		}
		if err := os.Remove(control); err != nil {
			a.t.Fatal(err)
		}
	}
}

// checkRebuilt: the log is whole, and what is rebuilt from it holds nothing else.
func (a *aviary) checkRebuilt() {
	a.t.Helper()
	log, err := sqlite.Open(a.t.Context(), filepath.Join(a.folder, "log.db"))
	if err != nil {
		a.t.Fatal(err)
	}
	if err := log.CheckChain(a.t.Context(), nil); err != nil {
		a.t.Error(err)
	}
	if err := log.Close(); err != nil {
		a.t.Fatal(err)
	}
	for _, name := range []string{"read.db", "read.db-wal", "read.db-shm"} {
		os.Remove(filepath.Join(a.folder, name))
	}
	if found := mentions(a.printed(), a.canaries); len(found) > 0 {
		a.t.Errorf("after a rebuild a command prints %v", found)
	}
	must(a.t, a.in("verify")...)
}
