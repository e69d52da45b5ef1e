package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore/keyring"
)

// What is left of an account whose key was destroyed is shown as what it is:
// that something happened, and when.
func TestShreddedEventsAreShownWithoutTheirData(t *testing.T) {
	folder := t.TempDir()
	opened := mustJSON(t, "account", "open", "--email", "anna@example.com", "--data", folder, "--json")
	ref := opened["accountId"].(string)
	id, err := ulid.Parse(strings.TrimPrefix(ref, "acct_"))
	if err != nil {
		t.Fatal(err)
	}
	party := ulid.MustParse(mustJSON(t, "third-party", "add", "crm", "--url", "https://crm.example.com/", "--data", folder, "--json")["id"].(string))
	master := keyring.Master{Path: filepath.Join(folder, "master.key")}
	keys, err := master.Open(t.Context(), filepath.Join(folder, "keys.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Destroy(t.Context(), events.AccountStream(id), events.ThirdPartyStream(party)); err != nil {
		t.Fatal(err)
	}
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"events", "list"}, {"account", "history", ref}} {
		command = append(command, "--data", folder)
		shown := mustLines(t, append(command, "--json")...)[0]
		if data, ok := shown["data"]; !ok || data != nil || shown["shredded"] != true || shown["type"] != events.TypeAccountOpened {
			t.Errorf("%s: %v", command, shown)
		}
		if text := must(t, command...); !strings.Contains(text, "AccountOpened.v1") || strings.Contains(text, "anna") {
			t.Errorf("%s: %s", command, text)
		}
	}
	if shown := mustJSON(t, "account", "show", ref, "--at", "1", "--data", folder, "--json"); shown["erased"] != true || shown["email"] != "" {
		t.Errorf("as it was: %v", shown)
	}
}
