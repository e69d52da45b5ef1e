//go:build servers

package main

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every administrative command works from a machine that runs no node, while nodes run.
func TestCommandsWorkFromAnotherMachine(t *testing.T) {
	present, next := newMaster(), newMaster()
	t.Setenv("KONTO_MASTER_KEY", present)
	t.Setenv("KONTO_NEXT_MASTER_KEY", next)
	n := newNodes(t, replicated(t))
	a, b := n.start(t, "a"), n.start(t, "b")
	crm := newEndpoint(t, "crm", func() int { return http.StatusOK })
	crm.register(n.folder, "--event", "ProfileUpdated")
	opened := n.must(t, "account", "open", "--email", "anna@example.com", "--first-name", "v0", "--last-name", "A")
	token := n.must(t, "key", "issue", "--account", "anna@example.com", "--scope", "read:account", "--scope", "write:account")["token"].(string)
	change := func(on *node, name string) {
		t.Helper()
		if status, body := send(t, "PATCH", on.url+"/api/v2/me", token, `{"firstName":"`+name+`"}`); status != http.StatusOK {
			t.Fatalf("node %s answered %d %s", on.name, status, body)
		}
	}
	change(a, "v1")
	crm.untilTaken(1)

	tail := start(t, "events", "tail", "--after", "0", "--json", "--data", t.TempDir())
	change(b, "v2")
	tail.stdout.find(t, regexp.MustCompile(`"v2"`))
	tail.stop()
	crm.untilTaken(2)

	deliveries := mustLines(t, "third-party", "deliveries", "crm", "--data", n.folder)
	if len(deliveries) != 2 {
		t.Fatalf("%v", deliveries)
	}
	event := deliveries[1]["event"].(string)
	if sent := n.must(t, "third-party", "redeliver", "crm", event, "--third-party-allow", "127.0.0.0/8"); sent["delivered"] != true {
		t.Errorf("%v", sent)
	}
	if sent := n.must(t, "third-party", "test", "crm", "--third-party-allow", "127.0.0.0/8"); sent["delivered"] != true {
		t.Errorf("%v", sent)
	}
	if shown := n.must(t, "third-party", "show", "crm", "--account", "anna@example.com"); shown["account"].(map[string]any)["inSync"] != true {
		t.Errorf("%v", shown)
	}
	n.must(t, "third-party", "pause", "crm")
	change(a, "v3")
	n.must(t, "third-party", "resume", "crm")
	crm.untilTaken(4) // v1, v2, the test, v3
	before := len(crm.got())
	n.must(t, "replay", "third-party", "crm", "--from", "1")
	crm.until("was sent all events again", func() bool { return len(crm.receipts) >= before+3 })

	n.must(t, "account", "facts", "anna@example.com", "--active-domains", "2")
	session := n.must(t, "session", "open", "--account", "anna@example.com")
	n.must(t, "session", "close", session["id"].(string))
	mustLines(t, "account", "history", "anna@example.com", "--data", n.folder)
	if r := kontoWith(t, `{"email":"bo@example.com"}`+"\n", "account", "import", "-", "--data", n.folder); r.status != exitDone {
		t.Error(r.stderr)
	}
	if done := n.must(t, "replay", "read-model", "--dry-run"); done == nil {
		t.Error("nothing printed")
	}
	dir := t.TempDir()
	exported := n.must(t, "export", filepath.Join(dir, "x.ndjson"), "--encrypted")
	backup := n.must(t, "backup", filepath.Join(dir, "x.db"))
	if exported["events"] != backup["events"] || exported["chain"] != backup["chain"] {
		t.Errorf("exported %v, backed up %v", exported, backup)
	}
	if report := n.must(t, "verify"); report["problems"] != nil && len(report["problems"].([]any)) > 0 {
		t.Errorf("%v", report)
	}
	for _, folder := range []string{n.folder, a.folder, t.TempDir()} { // a command's, a node's, a new one
		must(t, "verify", "--quick", "--data", folder)
	}
	must(t, "verify", "--data", t.TempDir())

	// The master key is rotated while the nodes run, which were started with both keys.
	if rotated := n.must(t, "keys", "rotate"); rotated["rotated"].(float64) < 4 || !strings.Contains(rotated["notice"].(string), "every node") {
		t.Errorf("%v", rotated)
	}
	change(a, "v4")
	change(b, "v5")
	t.Setenv("KONTO_NEXT_MASTER_KEY", "")
	refused(t, exitFailed, konto(t, "account", "list", "--data", n.folder), "which this node does not have")
	t.Setenv("KONTO_MASTER_KEY", next)
	n.master = next
	a.stop(t)
	a.again(t)
	change(a, "v6")
	if shown := n.must(t, "account", "show", opened["id"].(string)); shown["profile"].(map[string]any)["firstName"] != "v6" {
		t.Errorf("%v", shown)
	}
	refused(t, exitFailed, konto(t, "keys", "rotate", "--data", n.folder), "KONTO_NEXT_MASTER_KEY")
	a.stop(t)
	b.stop(t)

}
