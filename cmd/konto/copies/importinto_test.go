//go:build servers

package copies_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/copies"
	"konto/cmd/konto/datafolder"
	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
	"konto/eventstore/sqlite"
	"konto/eventstore/transfer"
)

// place is a log with its keys.
type place struct {
	log   eventstore.AdminLog
	keys  copies.Keys
	store *eventstore.Store
}

func newPlace(log eventstore.AdminLog, keys copies.Keys) place {
	return place{log, keys, eventstore.NewStore(log, keys)}
}

// inFolder opens the log and the keys of a folder.
func inFolder(t *testing.T, folder string) (place, *keyring.Keyring) {
	t.Helper()
	master := datafolder.MasterOf(folder)
	if _, err := master.Load(true); err != nil {
		t.Fatal(err)
	}
	keys, err := master.Open(t.Context(), filepath.Join(folder, "keys.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	log, err := sqlite.Open(t.Context(), filepath.Join(folder, "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return newPlace(log, keys), keys
}

// append appends an event with claims, if it opens an account, and with a receipt.
func (p place) append(t *testing.T, stream events.Stream, version uint64, name string, data string) {
	t.Helper()
	e := events.Event{
		ID: ulid.Make(), Stream: stream, Version: version, Type: name, Time: time.UnixMilli(1_790_000_000_000).UTC(),
		Metadata: events.Metadata{RequestID: "req_1", Actor: events.Actor{Kind: "operator"}, Contract: "cli"}, Data: []byte(data),
	}
	var claims []eventstore.ClaimChange
	if name == events.TypeAccountOpened {
		payload, err := e.Payload()
		if err != nil {
			t.Fatal(err)
		}
		var account events.Account
		account.Apply(e, payload)
		for _, c := range account.Claims() {
			claims = append(claims, eventstore.ClaimChange{Claim: c})
		}
	}
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	receipt := eventstore.NamedReceipt{Name: fmt.Sprint(stream, version), Data: []byte("answer"), Expires: expires}
	if _, err := p.store.Append(t.Context(), stream, version-1, claims, []events.Event{e}, receipt); err != nil {
		t.Fatal(err)
	}
}

// fill opens more accounts than a page and erases one. It returns another.
func (p place) fill(t *testing.T) events.Stream {
	t.Helper()
	id, err := p.log.ID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.keys.Bind(t.Context(), id, true); err != nil {
		t.Fatal(err)
	}
	var accounts []events.Stream
	for range 1100 {
		accounts = append(accounts, events.AccountStream(ulid.Make()))
	}
	var all sync.WaitGroup
	for i, stream := range accounts { // together, because each waits for the disk
		all.Go(func() {
			p.append(t, stream, 1, events.TypeAccountOpened, fmt.Sprintf(`{"email":"a%d@example.com","paywayId":"%024x"}`, i, i))
			p.append(t, stream, 2, events.TypeFactsRecorded, `{"activeDomains":3}`)
		})
	}
	all.Wait()
	erased := accounts[5]
	release := []eventstore.ClaimChange{
		{Claim: events.EmailClaim("a5@example.com"), Release: true}, {Claim: events.PaywayIDClaim(fmt.Sprintf("%024x", 5)), Release: true},
	}
	end := events.Event{ID: ulid.Make(), Stream: erased, Version: 3, Type: events.TypeAccountErased, Time: time.UnixMilli(1).UTC(), Data: []byte("{}")}
	if _, err := p.store.Append(t.Context(), erased, 2, release, []events.Event{end}); err != nil {
		t.Fatal(err)
	}
	if err := p.keys.Destroy(t.Context(), erased); err != nil {
		t.Fatal(err)
	}
	return accounts[9]
}

func (p place) export(t *testing.T, encrypted bool) []byte {
	t.Helper()
	var text bytes.Buffer
	id, err := p.log.ID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg := transfer.Config{Log: p.log, ID: id, Created: time.Now()}
	if !encrypted {
		cfg.Clear = p.store
	}
	if _, err := transfer.Export(t.Context(), &text, cfg); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func (p place) into(t *testing.T, text []byte) error {
	t.Helper()
	from, err := transfer.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	_, err = copies.ImportInto(t.Context(), p.log.(copies.ImportLog), p.keys, from, func(uint64, uint64) {})
	return err
}

// content is everything that a log has, and what can be read of it.
type content struct {
	Extent   eventstore.Extent
	Records  []eventstore.Record
	Claims   []eventstore.HeldClaim
	Receipts []eventstore.StoredReceipt
	Events   []events.Event
}

func (p place) content(t *testing.T) (c content) {
	t.Helper()
	ctx := t.Context()
	head, err := p.log.Head(ctx)
	if err == nil {
		c.Extent, err = p.log.Extent(ctx, head)
	}
	if err == nil {
		err = p.log.Wait(ctx, head-1)
	}
	if err == nil {
		c.Records, err = p.log.ReadAll(ctx, 0, 1<<20)
	}
	if err == nil {
		c.Claims, err = p.log.Claims(ctx, eventstore.HeldClaim{}, 1<<20)
	}
	if err == nil {
		c.Receipts, err = p.log.Receipts(ctx, eventstore.ReceiptKey{}, 1<<20)
	}
	if err == nil {
		c.Events, err = p.store.ReadAll(ctx, 0, 1<<20)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c content) expect(t *testing.T, want content) {
	t.Helper()
	for i, field := range []string{"extent", "records", "claims", "receipts", "events"} {
		got, want := reflect.ValueOf(c).Field(i), reflect.ValueOf(want).Field(i)
		if !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Errorf("the %s differ", field)
		}
	}
}

func openPostgres(t *testing.T, url string, open func(context.Context, *postgres.Database) (*postgres.Log, error)) (*postgres.Log, error) {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	log, err := open(t.Context(), db)
	if err == nil {
		t.Cleanup(func() { log.Close() })
	}
	return log, err
}

func mustOpen(t *testing.T, url string, open func(context.Context, *postgres.Database) (*postgres.Log, error)) *postgres.Log {
	t.Helper()
	log, err := openPostgres(t, url, open)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestLogMovesToPostgresAndBack(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	folder := t.TempDir()
	from, keys := inFolder(t, folder)
	anna := from.fill(t)
	want := from.content(t)
	if len(want.Events) != 2201 || len(want.Claims) != 2198 || len(want.Receipts) != 2198 {
		t.Fatalf("%d events, %d claims, %d receipts", len(want.Events), len(want.Claims), len(want.Receipts))
	}

	// An import that fails leaves a log that cannot be used.
	exported := from.export(t, true)
	log := mustOpen(t, primary.URL(), postgres.OpenImport)
	if err := newPlace(log, keys).into(t, exported[:len(exported)*3/4]); !errors.Is(err, transfer.ErrCutOff) {
		t.Fatalf("an export that is cut off: %v", err)
	}
	if head, err := log.Head(t.Context()); err != nil || head == 0 {
		t.Fatalf("the log ends at %d, %v", head, err)
	}
	log.Close()
	if _, err := openPostgres(t, primary.URL(), postgres.OpenLog); !errors.Is(err, postgres.ErrImporting) {
		t.Fatalf("a log with a part of an import: %v", err)
	}
	log = mustOpen(t, primary.URL(), postgres.OpenImport)
	if err := newPlace(log, keys).into(t, from.export(t, false)); err == nil {
		t.Error("an import in clear made a second log with the id")
	}
	if err := newPlace(log, keys).into(t, exported); err != nil {
		t.Fatal(err)
	}
	log.Close()
	log = mustOpen(t, primary.URL(), postgres.OpenLog)
	to := newPlace(log, keys)
	to.content(t).expect(t, want)
	if stream, data, err := to.store.Receipt(t.Context(), fmt.Sprint(anna, 1)); err != nil || stream != anna || string(data) != "answer" {
		t.Errorf("the receipt is %q of %q, %v", data, stream, err)
	}

	// A copy of it is a file with the same content.
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := log.Copy(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	extent, err := sqlite.Inspect(t.Context(), copied, nil)
	if err != nil || !reflect.DeepEqual(extent, want.Extent) {
		t.Errorf("the copy is %v, %v", extent, err)
	}

	// It goes on in Postgres, and then back.
	to.append(t, anna, 3, events.TypeFactsRecorded, `{"activeDomains":4}`)
	want = to.content(t)
	exported = to.export(t, true)
	log.Close()
	keys.Close()
	other := t.TempDir()
	for _, name := range []string{"keys.db", "master.key", "keys.db-stamp"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(other, name), data, 0o600)
		}
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	r, err := transfer.NewReader(bytes.NewReader(exported))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := copies.Import(t.Context(), other, r, func(uint64, uint64) {}); err != nil {
		t.Fatal(err)
	}
	back, _ := inFolder(t, other)
	back.content(t).expect(t, want)
}

func TestClearExportGetsNewKeysInPostgres(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	from, _ := inFolder(t, t.TempDir())
	from.fill(t)
	_, keys := inFolder(t, t.TempDir())
	log := mustOpen(t, primary.URL(), postgres.OpenImport)
	to := newPlace(log, keys)
	exported := from.export(t, false)
	if err := to.into(t, exported[:len(exported)/2]); err == nil {
		t.Fatal("half an export was imported")
	}
	log.Close()
	log = mustOpen(t, primary.URL(), postgres.OpenImport) // with the same keys, some of which are used
	to = newPlace(log, keys)
	if err := to.into(t, exported); err != nil {
		t.Fatal(err)
	}
	got, want := to.content(t), from.content(t)
	if !reflect.DeepEqual(got.Events, want.Events) {
		t.Error("the events differ")
	}
	if len(got.Claims) != len(want.Claims) || bytes.Equal(got.Extent.ID, want.Extent.ID) {
		t.Errorf("%d claims, not %d; the ids are %x and %x", len(got.Claims), len(want.Claims), got.Extent.ID, want.Extent.ID)
	}
}

// putKeys is a copies.KeyTarget in memory.
type putKeys struct {
	mu    sync.Mutex
	keys  map[string][]byte
	order []string
	fails string
}

func (p *putKeys) Put(_ context.Context, name string, key []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name == p.fails {
		return errors.New("the store is full")
	}
	p.keys[name] = bytes.Clone(key)
	p.order = append(p.order, name)
	return nil
}

func TestKeysAreImportedWithTheLogsIDLast(t *testing.T) {
	from, keys := inFolder(t, t.TempDir())
	from.fill(t)
	to := &putKeys{keys: map[string][]byte{}}
	n, err := copies.ImportKeys(t.Context(), keys, to)
	if err != nil || n != 1102 || len(to.keys) != 1102 {
		t.Fatalf("%d keys of %d, %v", len(to.keys), n, err)
	}
	if to.order[0] != "root" || to.order[len(to.order)-1] != "log" {
		t.Errorf("from %s to %s", to.order[0], to.order[len(to.order)-1])
	}
	to = &putKeys{keys: map[string][]byte{}, fails: to.order[500]}
	if _, err := copies.ImportKeys(t.Context(), keys, to); err == nil || to.keys["log"] != nil {
		t.Errorf("keys that could not be stored: %v", err)
	}
}
