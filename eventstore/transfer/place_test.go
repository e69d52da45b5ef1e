package transfer_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
	"konto/eventstore/sqlite"
	"konto/eventstore/transfer"
)

type log interface {
	eventstore.Log
	eventstore.Loader
	transfer.Source
}

// place is a log with its keys.
type place struct {
	log   log
	keys  *keyring.Keyring
	store *eventstore.Store
}

func inMemory(t *testing.T) place { return newPlace(t, memory.New(), newKeys(t)) }

func inSQLite(t *testing.T) place {
	t.Helper()
	log, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return newPlace(t, log, newKeys(t))
}

func newPlace(t *testing.T, log log, keys *keyring.Keyring) place {
	return place{log, keys, eventstore.NewStore(log, keys)}
}

func newKeys(t *testing.T) *keyring.Keyring {
	t.Helper()
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	return keys
}

func (p place) target() transfer.Target {
	return transfer.Target{Log: p.log, Store: p.store, Keys: p.keys}
}

// logID is the id of every log in the tests.
var logID = bytes.Repeat([]byte{5}, 16)

func (p place) export(t *testing.T, encrypted bool) []byte {
	t.Helper()
	var text bytes.Buffer
	cfg := transfer.Config{Log: p.log, ID: logID, Created: time.Now()}
	if !encrypted {
		cfg.Clear = p.store
	}
	end, err := transfer.Export(t.Context(), &text, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if head, _ := p.log.Head(t.Context()); end.Events != head {
		t.Fatalf("exported %d events of %d", end.Events, head)
	}
	return text.Bytes()
}

func (p place) take(ctx context.Context, text []byte) error {
	r, err := transfer.NewReader(bytes.NewReader(text))
	if err != nil {
		return err
	}
	_, err = transfer.Import(ctx, r, p.target())
	return err
}

// put appends stored payloads to a stream.
func (p place) put(t *testing.T, stream events.Stream, version uint64, name string, data []byte) {
	t.Helper()
	e := events.Event{
		ID: ulid.Make(), Stream: stream, Version: version, Type: name, Time: time.UnixMilli(1_790_000_000_123 + int64(version)).UTC(),
		Metadata: events.Metadata{RequestID: "req_" + ulid.Make().String(), Actor: events.Actor{Kind: "operator"}, Contract: "cli"}, Data: data,
	}
	var claims []eventstore.ClaimChange
	if e.Type == events.TypeAccountOpened {
		account := events.Account{}
		payload, err := e.Payload()
		if err != nil {
			t.Fatal(err)
		}
		account.Apply(e, payload)
		for _, c := range account.Claims() {
			claims = append(claims, eventstore.ClaimChange{Claim: c})
		}
	}
	if _, err := p.store.Append(t.Context(), stream, version-1, claims, []events.Event{e}); err != nil {
		t.Fatal(err)
	}
}

func newStream(category string) events.Stream {
	return events.Stream(category + "-" + ulid.Make().String())
}

// fillWithEverything appends the payload of each golden file to a stream of its category. Some
// streams lose their keys.
func fillWithEverything(t *testing.T, p place) (types map[string]bool, dead []events.Stream) {
	t.Helper()
	files, err := filepath.Glob("../../events/testdata/*.v*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	types = make(map[string]bool)
	category := func(name string) string {
		switch {
		case strings.HasPrefix(name, "ThirdParty"):
			return events.CategoryThirdParty
		case strings.HasPrefix(name, "Key"), strings.HasPrefix(name, "Session"), strings.HasPrefix(name, "Credential"):
			return events.CategoryCredential
		}
		return events.CategoryAccount
	}
	for _, file := range files {
		parts := strings.Split(filepath.Base(file), ".")
		name := parts[0] + "." + parts[1]
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		value := jsontext.Value(data)
		if err := value.Compact(); err != nil {
			t.Fatal(err)
		}
		types[name] = true
		stream := newStream(category(name))
		p.put(t, stream, 1, name, value)
		if !events.Sealed(name) {
			continue
		}
		gone := newStream(category(name))
		p.put(t, gone, 1, events.TypeFactsRecorded, []byte(`{"activeDomains":3}`))
		dead = append(dead, gone)
	}
	// Accounts with claims: one is not erased, one is erased, and of one only the key is
	// destroyed.
	for i, email := range []string{"anna@example.com", "bo@example.com", "eva@example.com"} {
		stream := newStream(events.CategoryAccount)
		opened, err := json.Marshal(events.AccountOpened{Email: email, PaywayID: fmt.Sprintf("50f3ac249f6aef294d00000%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		p.put(t, stream, 1, events.TypeAccountOpened, opened)
		if i > 0 {
			dead = append(dead, stream)
		}
		if i == 1 {
			erased := []eventstore.ClaimChange{
				{Claim: events.EmailClaim(email), Release: true},
				{Claim: events.PaywayIDClaim("50f3ac249f6aef294d000001"), Release: true},
			}
			end := events.Event{ID: ulid.Make(), Stream: stream, Version: 2, Type: events.TypeAccountErased, Time: time.UnixMilli(1).UTC(), Data: []byte("{}")}
			if _, err := p.store.Append(t.Context(), stream, 1, erased, []events.Event{end}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.keys.Destroy(t.Context(), dead...); err != nil {
		t.Fatal(err)
	}
	return types, dead
}

func all(t *testing.T, p place) []events.Event {
	t.Helper()
	evs, err := p.store.ReadAll(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return evs
}

// holders returns which account holds what.
func holders(t *testing.T, p place) map[events.Claim]events.Stream {
	t.Helper()
	found := make(map[events.Claim]events.Stream)
	for _, email := range []string{"anna@example.com", "bo@example.com", "eva@example.com"} {
		holder, err := p.store.Holder(t.Context(), events.EmailClaim(email))
		if err != nil {
			t.Fatal(err)
		}
		found[events.EmailClaim(email)] = holder
	}
	return found
}
