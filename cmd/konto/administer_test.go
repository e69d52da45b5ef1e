package main

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// script runs every administrative command once, in an order in which each
// finds something to show, and returns what they print and their statuses.
func script(t *testing.T, folder string) string {
	t.Helper()
	var said strings.Builder
	do := func(stdin string, args ...string) string {
		r := kontoWith(t, stdin, append(args, "--data", folder)...)
		said.WriteString("$ konto " + strings.Join(args, " ") + "\n" + r.stdout + strings.ReplaceAll(begunLine.ReplaceAllString(r.stderr, ""), folder, "FOLDER"))
		said.WriteString(strings.Repeat("!", r.status) + "\n")
		return r.stdout
	}
	id := func(printed string) string {
		if printed == "" {
			t.Fatalf("no id in\n%s", said.String())
		}
		return object(t, printed)["id"].(string)
	}

	do("", "account", "open", "--email", "anna@example.com", "--first-name", "Anna", "--last-name", "Svensson")
	do("correct horse\n", "account", "open", "--email", "acme@example.com", "--account-type", "organisation",
		"--company-name", "Acme", "--password-stdin", "--payway-id", "50f3ac249f6aef294d000007", "--json")
	do("", "account", "open", "--email", "ANNA@example.com")
	do("short\n", "account", "open", "--email", "weak@example.com", "--password-stdin")
	do("", "account", "open", "--email", "nothing", "--country", "XX")
	do("", "account", "facts", "anna@example.com", "--active-domains", "2", "--verified=true", "--pending-order", "A1")
	do("", "account", "facts", "anna@example.com", "--pending-order", "none", "--json")
	do("", "account", "show", "anna@example.com")
	do("", "account", "show", "50f3ac249f6aef294d000007", "--json")
	do("", "account", "show", "anna@example.com", "--at", "1")
	do("", "account", "show", "anna@example.com", "--at", "2001-01-01")
	do("", "account", "show", "nobody@example.com")
	do("", "account", "history", "anna@example.com")
	do("", "account", "history", "anna@example.com", "--at", "2", "--json")
	do("", "account", "list")
	do("", "account", "list", "--json")
	key := id(do("", "key", "issue", "--account", "anna@example.com", "--scope", "read:account", "--json"))
	do("", "key", "issue", "--client", "newspaper", "--scope", "/external/account/r")
	do("", "key", "issue", "--consumer", "billing")
	do("", "key", "issue", "--inbound", "billing")
	do("", "key", "issue", "--account", "nobody@example.com", "--scope", "read:account")
	session := id(do("", "session", "open", "--account", "anna@example.com", "--admin", "eva", "--role", "support", "--json"))
	do("", "session", "open", "--account", "acme@example.com", "--delegated-by", "anna@example.com", "--label", "Books")
	do("", "session", "close", key)
	do("", "key", "revoke", session)
	do("", "key", "revoke", key)
	do("", "key", "revoke", key, "--json")
	do("", "session", "close", session, "--json")
	do("", "session", "close", "nonsense")
	do("", "key", "list")
	do("", "key", "list", "--json")
	do("", "session", "list")
	do("", "session", "list", "--json")
	do("", "events", "list")
	do("", "events", "list", "--after", "2", "--json")
	do("", "events", "list", "--account", "anna@example.com", "--type", "FactsRecorded")
	do("", "replay", "read-model", "--dry-run")
	do("", "replay", "read-model", "--json")
	// Last, and without a look at the log: a server appends events about deliveries.
	crm := id(do("", "third-party", "add", "crm", "--url", "https://crm.example.com/hook?tenant=7", "--json"))
	do("", "third-party", "add", "paper", "--url", "http://10.0.0.7:8080/", "--format", "payway", "--event", "EmailChanged", "--event", "ProfileUpdated")
	do("", "third-party", "add", "crm", "--url", "https://crm.example.com/")
	do("", "third-party", "add", "Crm", "--url", "crm.example.com", "--format", "risc", "--event", "ProfileUpdated")
	do("", "third-party", "show", "crm")
	do("", "third-party", "show", strings.ToLower(crm), "--json")
	do("", "third-party", "list")
	do("", "third-party", "list", "--json")
	do("", "third-party", "show", "crm", "--account", "anna@example.com")
	do("", "third-party", "show", "crm", "--account", "acme@example.com", "--json")
	do("", "third-party", "deliveries")
	do("", "third-party", "redeliver", "crm", "nonsense")
	do("", "replay", "third-party", "crm", "--from", "1")
	do("", "third-party", "rotate-secret", "crm", "--overlap", "1h")
	do("", "third-party", "rotate-secret", "crm", "--overlap", "721h")
	do("", "third-party", "pause", "crm", "--json")
	do("", "third-party", "pause", crm)
	do("", "third-party", "resume", "crm")
	do("", "third-party", "pause", "crm")
	do("", "third-party", "remove", "crm", "--yes")
	do("", "third-party", "show", "crm")
	do("", "third-party", "pause", crm)
	do("", "third-party", "list")
	return said.String()
}

// chance is what differs from run to run.
var chance = regexp.MustCompile(`konto_\w{26}_\w+|(?i)(client_|acct_|account-|credential-|grant_|req_)?01[0-9a-z]{24}\b|\b[0-9a-f]{24}\b|\d{4}-\d\d-\d\dT[0-9:.]+Z|"secretHash":"[^"]*"|wh(sec|pk)_[0-9A-Za-z+/=]+`)

func TestCommandsPrintTheSameWithAndWithoutAServer(t *testing.T) {
	alone, served := t.TempDir(), t.TempDir()
	server, _, _ := serve(t, served)
	a := strings.Split(chance.ReplaceAllString(script(t, alone), "~"), "\n")
	b := strings.Split(chance.ReplaceAllString(script(t, served), "~"), "\n")
	if status := server.stop(); status != exitDone {
		t.Errorf("the server ended with %d: %s", status, server.stderr)
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Errorf("without a server: %s\nwith one:         %s", a[i], b[i])
		}
	}
	if len(a) != len(b) {
		t.Errorf("%d lines without a server, %d with one", len(a), len(b))
	}
	if failed := slices.Index(a, "!!"); failed >= 0 {
		t.Errorf("wrong usage in the script, line %d", failed)
	}
	if n := strings.Count(strings.Join(a, "\n"), "!\n"); n != 15 {
		t.Errorf("%d commands of the script failed, 15 must", n)
	}
}

func TestJSONShapes(t *testing.T) {
	folder := t.TempDir()
	in := func(args ...string) []string { return append(args, "--data", folder) }
	opened := mustJSON(t, in("account", "open", "--email", "anna@example.com")...)
	id := opened["id"].(string)
	key := mustJSON(t, in("key", "issue", "--account", id, "--scope", "read:account")...)
	client := mustJSON(t, in("key", "issue", "--client", "crm", "--scope", "/external/account/r")...)
	if client["clientId"] != client["id"] || client["clientSecret"] != client["token"] {
		t.Errorf("a client's id and secret are not its key's id and token: %v", slices.Sorted(maps.Keys(client)))
	}
	session := mustJSON(t, in("session", "open", "--account", opened["accountId"].(string))...)
	party := mustJSON(t, in("third-party", "add", "crm", "--url", "https://crm.example.com/")...)
	shape := func(v map[string]any) string {
		return strings.Join(slices.Sorted(maps.Keys(v)), " ")
	}
	first := func(all []map[string]any) map[string]any {
		if len(all) == 0 {
			t.Fatal("nothing was printed")
		}
		return all[0]
	}
	for name, c := range map[string]struct {
		got  map[string]any
		want string
	}{
		"account open":      {opened, "accountId clientId id paywayId version"},
		"account facts":     {mustJSON(t, in("account", "facts", id, "--verified")...), "accountId clientId id paywayId version"},
		"account show":      {mustJSON(t, in("account", "show", opened["clientId"].(string))...), "accountId administrator clientId email facts hasPassword id opened paywayId position profile updated version"},
		"account list":      {first(mustLines(t, in("account", "list")...)), "accountId administrator clientId email facts hasPassword id opened paywayId position profile updated version"},
		"account history":   {first(mustLines(t, in("account", "history", opened["paywayId"].(string))...)), "actor changes contract data id position requestId time type version"},
		"key issue":         {key, "id token"},
		"key issue, client": {client, "clientId clientSecret id token"},
		"key list":          {first(mustLines(t, in("key", "list")...)), "account authType id issued kind scopes state"},
		"key revoke":        {mustJSON(t, in("key", "revoke", key["token"].(string))...), "id revoked"},
		"session open":      {session, "cookie id"},
		"session list":      {first(mustLines(t, in("session", "list")...)), "account authType expiresAt id issued kind scopes state"},
		"session close":     {mustJSON(t, in("session", "close", session["cookie"].(string))...), "id revoked"},
		"events list":       {first(mustLines(t, in("events", "list")...)), "data id metadata position stream time type version"},
		"version":           {mustJSON(t, "version"), "go version"},
		"replay read-model": {mustJSON(t, in("replay", "read-model")...), "differences events exchanged position"},

		"third-party add":           {party, "id name publicKey secret"},
		"third-party show":          {mustJSON(t, in("third-party", "show", "crm")...), "added begin checkpoint events format id name publicKey state url version"},
		"third-party list":          {first(mustLines(t, in("third-party", "list")...)), "added begin checkpoint events format id name publicKey state url version"},
		"third-party pause":         {mustJSON(t, in("third-party", "pause", party["id"].(string))...), "id name state"},
		"third-party resume":        {mustJSON(t, in("third-party", "resume", "crm")...), "id name state"},
		"third-party rotate-secret": {mustJSON(t, in("third-party", "rotate-secret", "crm")...), "id name previousUntil publicKey secret"},
		"third-party remove":        {mustJSON(t, in("third-party", "remove", "crm", "--yes")...), "id name state"},
	} {
		if got := strings.Replace(shape(c.got), "go revision", "go", 1); got != c.want {
			t.Errorf("%s printed %s", name, got)
		}
	}
}

func TestNoSecretIsListed(t *testing.T) {
	folder := t.TempDir()
	r := kontoWith(t, "correct horse battery\n", "account", "open", "--email", "anna@example.com", "--password-stdin", "--data", folder)
	if r.status != 0 {
		t.Fatal(r.stderr)
	}
	for _, args := range [][]string{{"account", "show", "anna@example.com"}, {"account", "history", "anna@example.com"}, {"account", "list"}, {"events", "list"}} {
		if said := must(t, append(args, "--data", folder, "--json")...); strings.Contains(said, "argon2id") || strings.Contains(said, "horse") {
			t.Errorf("konto %s: %s", strings.Join(args, " "), said)
		}
	}
	if shown := mustJSON(t, "account", "show", "anna@example.com", "--data", folder); shown["hasPassword"] != true {
		t.Error("the password was not stored")
	}
}

func TestKeysAndSessionsWorkUntilTheyAreRevoked(t *testing.T) {
	folder := t.TempDir()
	_, url, _ := serve(t, folder)
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
	for range 20 {
		key := mustJSON(t, "key", "issue", "--data", folder, "--account", "anna@example.com", "--scope", "read:account")
		if status, body := send(t, "GET", url+"/v1/account", key["token"].(string), ""); status != 200 {
			t.Fatalf("a new key was answered %d %s", status, body)
		}
		must(t, "key", "revoke", "--data", folder, key["id"].(string))
		if status, _ := send(t, "GET", url+"/v1/account", key["token"].(string), ""); status != 401 {
			t.Fatalf("a revoked key was answered %d", status)
		}
	}
}

var secondEvent = regexp.MustCompile(`(?m)^\{"position":2,.*\n`)

func TestTailRunsUntilItIsInterrupted(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, folder string){
		"with a server":    func(t *testing.T, folder string) { serve(t, folder) },
		"without a server": func(*testing.T, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			must(t, "account", "open", "--data", folder, "--email", "first@example.com")
			begin(t, folder)
			tail := start(t, "events", "tail", "--after", "0", "--data", folder, "--json", "--type", "AccountOpened")
			tail.stdout.find(t, regexp.MustCompile(`first@example.com`))
			must(t, "account", "open", "--data", folder, "--email", "second@example.com")
			line := object(t, tail.stdout.find(t, secondEvent)[0])
			if line["type"] != "AccountOpened.v1" {
				t.Errorf("%v", line)
			}
			if status := tail.stop(); status != exitDone {
				t.Errorf("ended with %d: %s", status, tail.stderr)
			}
		})
	}
}

func TestTailEndsWithTheServer(t *testing.T) {
	folder := t.TempDir()
	must(t, "account", "open", "--data", folder, "--email", "first@example.com")
	server, _, _ := serve(t, folder)
	tail := start(t, "events", "tail", "--after", "0", "--data", folder)
	tail.stdout.find(t, regexp.MustCompile(`first@example.com`))
	if status := server.stop(); status != exitDone {
		t.Errorf("the server ended with %d: %s", status, server.stderr)
	}
	if status := tail.wait(); status != exitFailed || tail.stderr.String() != "konto: the server stopped\n" {
		t.Errorf("ended with %d: %s", status, tail.stderr)
	}
}

func TestDataFolderMayHaveALongPath(t *testing.T) {
	folder := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	serve(t, folder)
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
}
