package main

import (
	"strings"
	"testing"
	"unicode"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
)

// hostile is what somebody outside may call themselves: it clears a screen, sets a
// title, forges a line, and turns and hides text.
const hostile = "eve\x1b[2J\x1b]0;pwned\x07\r\n9999 forged\x00\x08\x7f\u0085\u009b31m\u2028\u2029\u202e\u2066\u200b\u00ad\ufeff\U000e0041 ö \u200d"

// obeyed finds what no terminal and no log may be sent.
func obeyed(text string) (found []rune) {
	for _, r := range text {
		if r != '\n' && r != '\u200d' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			found = append(found, r)
		}
	}
	return found
}

// visited makes a folder in which every text from outside is hostile.
func visited(t *testing.T, folder string) ulid.ULID {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test", Begin: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	id, err := datafolder.NewID()
	if err != nil {
		t.Fatal(err)
	}
	meta := events.Metadata{
		Actor: events.Actor{Kind: "client", ID: hostile}, Impersonator: hostile, Grant: hostile, Contract: hostile, RequestID: hostile,
	}
	open := commands.Open{Email: "anna@example.com", PaywayID: annaID, Profile: events.ProfileUpdated{FirstName: events.Set("Anna \u202e\u200bnna")}}
	if _, err := h.Accounts.Do(t.Context(), id, meta, open); err != nil {
		t.Fatal(err)
	}
	order := hostile
	if _, err := h.Accounts.Do(t.Context(), id, meta, commands.RecordFacts{Facts: events.FactsRecorded{PendingOrder: events.Set(order)}}); err != nil {
		t.Logf("an order is not called so: %v", err)
	}
	return id
}

func TestNoControlCharacterIsPrinted(t *testing.T) {
	folder := t.TempDir()
	id := visited(t, folder).String()
	all := [][]string{
		{"session", "open", "--account", id, "--admin", hostile, "--role", "support"},
		{"session", "open", "--account", id, "--delegated-by", id, "--label", hostile},
		{"session", "open", "--admin", hostile},
		{"key", "issue", "--client", hostile, "--scope", hostile},
		{"key", "issue", "--consumer", hostile},
		{"third-party", "add", hostile, "--url", "https://crm.example.com/" + hostile},
		{"third-party", "add", "crm", "--url", "https://crm.example.com/"},
		{"third-party", "pause", hostile},
		{"account", "show", id}, {"account", "show", hostile + "@example.com"}, {"account", "show", hostile},
		{"account", "open", "--email", hostile + "@example.com"}, {"account", "history", id}, {"account", "list"},
		{"account", "facts", id, "--pending-order", hostile, "--bankid-name", hostile},
		{"account", "history", id}, {"session", "list"}, {"key", "list"}, {"events", "list"}, {"events", "list", "--type", hostile},
		{"key", "revoke", hostile}, {"session", "close", hostile}, {"third-party", "deliveries"}, {"verify"},
		{"account", "show", id, "--at", hostile}, {hostile}, {"account", "--" + hostile},
		{"backup", "/dev/null/" + strings.ReplaceAll(hostile, "\x00", "")},
	}
	print := func(t *testing.T) {
		printed := 0
		for _, args := range all {
			for _, more := range [][]string{nil, {"--json"}} {
				r := konto(t, append(append(append([]string{}, args...), more...), "--data", folder)...)
				if found := obeyed(r.stdout + r.stderr); found != nil {
					t.Errorf("konto %q prints %U", args, found)
				}
				if strings.Contains(r.stdout, "\n9999 forged") || strings.Contains(r.stderr, "\n9999 forged") {
					t.Errorf("konto %q prints a forged line", args)
				}
				if strings.Contains(r.stdout+r.stderr, "forged") {
					printed++
				}
				if more == nil || r.status != exitDone {
					continue
				}
				for line := range strings.Lines(r.stdout) {
					object(t, line)
				}
			}
		}
		if printed < 10 {
			t.Errorf("the hostile text was in only %d answers", printed)
		}
		lines := mustLines(t, "account", "history", id, "--data", folder)
		if by := lines[0]["actor"].(map[string]any)["id"]; by != hostile {
			t.Errorf("JSON has %q", by)
		}
	}
	t.Run("without a server", print)
	server, _, _ := serve(t, folder)
	t.Run("by a server", print)
	server.stop()
	if found := obeyed(server.stderr.String()); found != nil {
		t.Errorf("the log has %U", found)
	}
}
