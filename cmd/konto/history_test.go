package main

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
	"konto/eventstore/keyring"
)

// lived opens an account that many things happened to, through the folder itself.
func lived(t *testing.T, folder string) (id ulid.ULID) {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test", Begin: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if id, err = datafolder.NewID(); err != nil {
		t.Fatal(err)
	}
	hash, err := commands.HashPassword(context.Background(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	client := events.Metadata{Actor: events.Actor{Kind: "client", ID: "newspaper"}, Contract: "payway.v1"}
	session := events.Metadata{Actor: events.Actor{Kind: "session", ID: "S1"}, Impersonator: "eva", Contract: "hostup"}
	domains, none := 2, 0
	for _, step := range []struct {
		meta events.Metadata
		c    commands.Command
	}{
		{client, commands.Open{Email: "old@example.com", PaywayID: annaID, PasswordHash: hash, Profile: events.ProfileUpdated{Alias: events.Set("annika")}}},
		{client, &commands.Update{Email: events.Set("new@example.com"), Profile: events.ProfileUpdated{
			FirstName: events.Set("Anna"), Alias: events.Clear[string](), Address: events.AddressUpdated{City: events.Set("Umeå")}}}},
		{session, &commands.Update{Profile: events.ProfileUpdated{Address: events.AddressUpdated{City: events.Set("Luleå")}}}},
		{session, commands.RecordFacts{Facts: events.FactsRecorded{ActiveDomains: &domains}}},
		{session, commands.RecordFacts{Facts: events.FactsRecorded{ActiveDomains: &none}}},
		{session, commands.RequestEmailChange{NewEmail: "next@example.com", CurrentPassword: "correct horse"}},
		{session, commands.ChangePassword{CurrentPassword: "correct horse", NewPassword: "horse staple battery correct"}},
	} {
		if _, err := h.Accounts.Do(t.Context(), id, step.meta, step.c); err != nil {
			t.Fatalf("%T: %v", step.c, err)
		}
	}
	return id
}

var historyTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)

const livedHistory = `   1  ~  AccountOpened.v1  by client newspaper through payway.v1
      email: – → old@example.com
      paywayId: – → 50f3ac249f6aef294d000007
      alias: – → annika
   2  ~  PasswordChanged.v1  by client newspaper through payway.v1
      password: – → (secret)
   3  ~  ProfileUpdated.v1  by client newspaper through payway.v1
      firstName: – → Anna
      address.city: – → Umeå
      alias: annika → –
   4  ~  EmailChanged.v1 (direct)  by client newspaper through payway.v1
      email: old@example.com → new@example.com
   5  ~  ProfileUpdated.v1  by session S1 impersonated by eva through hostup
      address.city: Umeå → Luleå
   6  ~  FactsRecorded.v1  by session S1 impersonated by eva through hostup
      facts.activeDomains: 0 → 2
   7  ~  FactsRecorded.v1  by session S1 impersonated by eva through hostup
      facts.activeDomains: 2 → 0
   8  ~  EmailChangeRequested.v1  by session S1 impersonated by eva through hostup
      emailChange.newEmail: – → next@example.com
      emailChange.expiresAt: – → ~
   9  ~  EmailChangeCancelled.v1  by session S1 impersonated by eva through hostup
      emailChange.newEmail: next@example.com → –
      emailChange.expiresAt: ~ → –
  10  ~  PasswordChanged.v1  by session S1 impersonated by eva through hostup
      password: (secret) → (secret)
`

func TestHistoryShowsWhoChangedWhat(t *testing.T) {
	folder := t.TempDir()
	id := lived(t, folder).String()
	check := func(t *testing.T) {
		t.Helper()
		if text := historyTime.ReplaceAllString(must(t, "account", "history", id, "--data", folder), "~"); text != livedHistory {
			t.Errorf("got\n%s\nwant\n%s", text, livedHistory)
		}
		all := mustLines(t, "account", "history", "new@example.com", "--data", folder)
		first := all[3]["changes"].([]any)[0].(map[string]any)
		if len(first) != 3 || first["field"] != "email" || first["from"] != "old@example.com" || first["to"] != "new@example.com" {
			t.Errorf("%v", all[3])
		}
		cleared := all[2]["changes"].([]any)[2].(map[string]any)
		if to, ok := cleared["to"]; !ok || to != nil || cleared["from"] != "annika" {
			t.Errorf("%v", cleared)
		}
	}
	check(t)
	serve(t, folder)
	check(t)
}

func TestHistoryPrintsNoControlCharacters(t *testing.T) {
	if text := plain(jsontext.Value(`"a\u001b[2J"`)); text != `"a\x1b[2J"` {
		t.Errorf("%q", text)
	}
}

func TestHistoryOfAnAccountWhoseKeyWasDestroyed(t *testing.T) {
	folder := t.TempDir()
	id := lived(t, folder)
	master := keyring.Master{Path: filepath.Join(folder, "master.key")}
	keys, err := master.Open(t.Context(), filepath.Join(folder, "keys.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Destroy(t.Context(), events.AccountStream(id)); err != nil {
		t.Fatal(err)
	}
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	text := must(t, "account", "history", id.String(), "--data", folder)
	if strings.Count(text, "its key was destroyed") != 10 || strings.Contains(text, "→") || strings.Contains(text, " by ") {
		t.Errorf("%s", text)
	}
	for _, e := range mustLines(t, "account", "history", id.String(), "--data", folder) {
		if e["type"] == "AccountErased.v1" { // a start that finds the key gone ends the account
			continue
		}
		if e["shredded"] != true || len(e["changes"].([]any)) != 0 {
			t.Errorf("%v", e)
		}
	}
	for _, at := range []string{"1", "10", "2999-01-01"} {
		if shown := mustJSON(t, "account", "show", id.String(), "--at", at, "--data", folder); shown["erased"] != true || shown["email"] != "" {
			t.Errorf("at %s: %v", at, shown)
		}
	}
}
