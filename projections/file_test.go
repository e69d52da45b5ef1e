package projections

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/memory"
	"konto/eventstore/sqlitefile"
)

func TestFileHoldsNoPersonalData(t *testing.T) {
	h := newFixture(t)
	id := h.openAccount("canary@example.com")
	h.append(events.AccountStream(id), 1, named("Canaryna"), events.PasswordChanged{Hash: "$argon2id$canary"})
	h.append(events.CredentialStream(ulid.Make()), 0, events.SessionOpened{AuthType: "session", Label: "canary-label", Admin: "canary-admin"})
	h.append(events.ThirdPartyStream(ulid.Make()), 0, events.ThirdPartyAdded{
		Name: "canary", URL: "https://canary.example.com/", Secret: events.WebhookSecrets{HMAC: []byte("canary-secret")},
	})
	h.must(h.model.Apply(t.Context(), h.all(0)))
	if got := h.account(id).Email; got != "canary@example.com" {
		t.Fatalf("email %q", got)
	}
	seen := 0
	for _, name := range []string{h.path(), h.path() + "-wal"} {
		content, err := os.ReadFile(name)
		h.must(err)
		seen += bytes.Count(content, id[:])
		if bytes.Contains(bytes.ToLower(content), []byte("canary")) {
			t.Errorf("%s holds personal data", name)
		}
	}
	if seen == 0 {
		t.Error("the account's row is in none of the files looked at")
	}
}

func TestRowsMovedToAnotherPlaceAreRefused(t *testing.T) {
	h := newFixture(t)
	a, b := h.openAccount("a@example.com"), h.openAccount("b@example.com")
	h.must(h.model.Apply(t.Context(), h.all(0)))
	_, err := h.model.file.writer.Exec("UPDATE account SET content = (SELECT content FROM account WHERE id = ?) WHERE id = ?", a[:], b[:])
	h.must(err)
	h.clearCaches()
	if _, _, err := h.model.Account(t.Context(), b); err == nil {
		t.Error("another account's row was accepted")
	}
}

func TestFileOfAnotherSchemaOrKeyringIsRecreated(t *testing.T) {
	for name, change := range map[string]string{
		"schema":  "PRAGMA user_version = 999",
		"tables":  "PRAGMA user_version = 0; DROP TABLE progress",
		"keyring": "UPDATE progress SET keyring = x'00'",
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t)
			ids := h.history()
			h.must(h.model.Apply(t.Context(), h.all(0)))
			_, err := h.model.file.writer.Exec(change)
			h.must(err)
			h.must(h.model.Close())
			h.openModel()
			if h.position() != 0 {
				t.Fatalf("position %d in a recreated file", h.position())
			}
			h.run()
			h.drain()
			h.checkFolds(ids)
		})
	}
}

func TestReopenedFileGoesOn(t *testing.T) {
	h := newFixture(t)
	ids := h.history()
	h.must(h.model.Apply(t.Context(), h.all(0)))
	before := h.position()
	h.must(h.model.Close())
	h.openModel()
	if h.position() != before {
		t.Errorf("position %d, before %d", h.position(), before)
	}
	h.checkFolds(ids)
}

func TestFilesOfOtherProgramsAreLeftAlone(t *testing.T) {
	tests := map[string]struct {
		make func(h *fixture)
		says []string
	}{
		"malformed": {func(h *fixture) {
			h.must(os.WriteFile(h.path(), []byte(strings.Repeat("no database ", 1000)), 0o600))
		}, []string{"not a SQLite database", "delete the file, it will be rebuilt"}},
		"another program's": {func(h *fixture) {
			db, err := sqlitefile.OpenWriter(h.path())
			h.must(err)
			_, err = db.Exec("CREATE TABLE theirs (a)")
			h.must(err)
			h.must(db.Close())
		}, []string{"another program's"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t)
			h.must(h.model.Close())
			h.must(os.Remove(h.path()))
			test.make(h)
			before, err := os.ReadFile(h.path())
			h.must(err)
			_, err = OpenReadModel(t.Context(), h.path(), h.log, h.keys)
			if err == nil {
				t.Fatal("it was opened")
			}
			for _, want := range append(test.says, h.path()) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if after, _ := os.ReadFile(h.path()); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestCursorsSurviveReopening(t *testing.T) {
	h := newFixture(t)
	value, err := h.model.Cursor(t.Context(), "publisher")
	h.must(err)
	if value != nil {
		t.Errorf("a cursor that was never set is %q", value)
	}
	h.must(h.model.SetCursor(t.Context(), "publisher", []byte("1")))
	h.must(h.model.SetCursor(t.Context(), "publisher", []byte("2")))
	h.must(h.model.Close())
	h.openModel()
	value, err = h.model.Cursor(t.Context(), "publisher")
	h.must(err)
	if string(value) != "2" {
		t.Errorf("cursor %q", value)
	}
}

func TestDeletedFileIsRebuiltFromTheLog(t *testing.T) {
	h := newFixture(t)
	ids := h.history()
	h.must(h.model.Apply(t.Context(), h.all(0)))
	h.must(h.model.Close())
	h.must(os.Remove(h.path()))
	h.openModel()
	if h.position() != 0 {
		t.Fatalf("a new file is at position %d", h.position())
	}
	h.run()
	h.drain()
	h.checkFolds(ids)
}

// A log is restored from an older copy, and goes on with other events.
func TestFileOfAnotherHistoryIsRecreated(t *testing.T) {
	for name, grows := range map[string]int{"longer": 9, "as long": 3, "shorter": 1} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t)
			ghost := h.openAccount("ghost@example.com")
			key, token := h.issueKey(events.KeyIssued{Client: "billing"})
			h.append(events.AccountStream(ghost), 1, named("Ghost"))
			h.must(h.model.Apply(t.Context(), h.all(0)))
			h.must(h.model.SetCursor(t.Context(), "publisher", []byte("3")))
			h.must(h.model.Close())

			h.log = memory.New()
			h.store = eventstore.NewStore(h.log, h.keys)
			h.openAccounts(grows)
			h.openModel()
			if value, err := h.model.Cursor(t.Context(), "publisher"); value != nil || err != nil {
				t.Errorf("the cursor is still %q, %v", value, err)
			}
			h.run()
			h.drain()
			listed, err := h.model.Accounts(t.Context(), ulid.ULID{}, 100)
			h.must(err)
			if len(listed) != grows || h.position() != uint64(grows) {
				t.Errorf("%d accounts at position %d, %d were opened", len(listed), h.position(), grows)
			}
			if _, err := h.model.Authenticate(t.Context(), token, time.Now()); err != ErrUnauthenticated {
				t.Errorf("key %s of the other history: %v", key, err)
			}
		})
	}
}

// The last event's key may be gone; that must not cost the file.
func TestFileIsComparedWithTheLogAsItIsStored(t *testing.T) {
	h := newFixture(t)
	e := events.Event{ID: ulid.Make(), Stream: events.Stream("invoice-" + ulid.Make().String()), Version: 1, Position: 1}
	_, err := h.log.Append(t.Context(), eventstore.Batch{Stream: e.Stream, Records: []eventstore.Record{{
		Stream: e.Stream, Version: 1, ID: e.ID, Type: "InvoiceSent.v1", Time: time.Now().UTC().Truncate(time.Millisecond),
		Metadata: []byte("sealed"), Data: []byte("sealed"),
	}}})
	h.must(err)
	h.must(h.model.Apply(t.Context(), []events.Event{e}))
	h.must(h.model.Close())
	h.openModel()
	if _, err := h.store.ReadAll(t.Context(), 0, 1); err == nil || h.position() != 1 {
		t.Errorf("position %d; the event's error: %v", h.position(), err)
	}
}
