package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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

// place is a log with its keys.
type place struct {
	log   eventstore.Log
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

func newPlace(t *testing.T, log eventstore.Log, keys *keyring.Keyring) place {
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

// logID is what the tests call every log.
var logID = bytes.Repeat([]byte{5}, 16)

func (p place) export(t *testing.T, encrypted bool) []byte {
	t.Helper()
	var text bytes.Buffer
	cfg := transfer.Config{Log: p.log, ID: logID, Starts: time.Now()}
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

// put appends payloads, as they are stored, to a stream.
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

// fillWithEverything appends every payload that there ever was: each golden file
// in a stream of its own kind. Some streams lose their keys.
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
	// Accounts with claims: one that lives, one that was erased, one whose key
	// alone was destroyed.
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

// holders says which account holds what.
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

func TestEverythingGoesRound(t *testing.T) {
	for name, test := range map[string]struct {
		from, to func(t *testing.T) place
	}{
		"SQLite to memory": {inSQLite, inMemory},
		"memory to SQLite": {inMemory, inSQLite},
		"SQLite to SQLite": {inSQLite, inSQLite},
	} {
		for _, encrypted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, encrypted %v", name, encrypted), func(t *testing.T) {
				from, to := test.from(t), test.to(t)
				_, dead := fillWithEverything(t, from)
				if encrypted { // which is for the same keys
					to = newPlace(t, to.log, from.keys)
				}
				if err := to.take(t.Context(), from.export(t, encrypted)); err != nil {
					t.Fatal(err)
				}
				want, got := all(t, from), all(t, to)
				if len(want) < 40 || !reflect.DeepEqual(got, want) {
					t.Errorf("the events differ: %d instead of %d", len(got), len(want))
				}
				for _, stream := range dead {
					if _, err := to.keys.Create(t.Context(), stream); !errors.Is(err, eventstore.ErrDestroyed) {
						t.Errorf("%s can be written to again: %v", stream, err)
					}
				}
				held := holders(t, to)
				if held[events.EmailClaim("anna@example.com")] == "" {
					t.Error("the account that lives holds no claim")
				}
				for _, gone := range []string{"bo@example.com", "eva@example.com"} {
					if held[events.EmailClaim(gone)] != "" {
						t.Errorf("%s is still held", gone)
					}
				}
				if encrypted {
					expectSameRecords(t, from, to)
				}
			})
		}
	}
}

func expectSameRecords(t *testing.T, from, to place) {
	t.Helper()
	chains := [2][sha256.Size]byte{}
	for i, p := range []place{from, to} {
		records, err := p.log.ReadAll(t.Context(), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			chains[i] = eventstore.ChainHash(chains[i], r)
		}
	}
	if chains[0] != chains[1] {
		t.Error("the records are others")
	}
}

func TestExportHoldsEveryTypeThatThereIs(t *testing.T) {
	from := inMemory(t)
	types, _ := fillWithEverything(t, from)
	text := string(from.export(t, false))
	for name := range types {
		if !strings.Contains(text, `"type":"`+name+`"`) {
			t.Errorf("no %s in the export", name)
		}
	}
}

func TestEncryptedExportHoldsNothingInClear(t *testing.T) {
	from := inMemory(t)
	fillWithEverything(t, from)
	const address = "anna@example.com"
	if sealed := from.export(t, true); bytes.Contains(sealed, []byte(address)) || bytes.Contains(sealed, []byte("activeDomains")) {
		t.Error("an encrypted export can be read")
	}
	if !bytes.Contains(from.export(t, false), []byte(address)) {
		t.Error("an export in clear cannot")
	}
}

func TestDamagedExportsAreRefused(t *testing.T) {
	from := inMemory(t)
	fillWithEverything(t, from)
	good := from.export(t, false)
	lines := slices.Collect(strings.Lines(string(good)))
	last := len(lines) - 1
	join := func(parts ...[]string) string { return strings.Join(slices.Concat(parts...), "") }
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"nothing":             {"", transfer.ErrFormat},
		"garbage":             {"no export\n", transfer.ErrFormat},
		"another JSON":        {`{"a":1}` + "\n", transfer.ErrFormat},
		"a newer one":         {`{"export":{"format":2,"more":true}}` + "\n", transfer.ErrNewer},
		"a header alone":      {lines[0], transfer.ErrCutOff},
		"no end":              {join(lines[:last]), transfer.ErrCutOff},
		"half a line":         {join(lines[:5]) + lines[5][:30], transfer.ErrCutOff},
		"half the last line":  {join(lines[:last]) + lines[last][:30], transfer.ErrCutOff},
		"the newline missing": {strings.TrimSuffix(string(good), "\n"), transfer.ErrCutOff},
		"a line missing":      {join(lines[:7], lines[8:]), transfer.ErrFormat},
		"the last missing":    {join(lines[:last-1], lines[last:]), transfer.ErrFormat},
		"a line twice":        {join(lines[:7], lines[6:]), transfer.ErrFormat},
		"two lines traded":    {join(lines[:7], lines[8:9], lines[7:8], lines[9:]), transfer.ErrFormat},
		"a changed word":      {strings.Replace(string(good), "anna@example.com", "anne@example.com", 1), transfer.ErrFormat},
		"something behind it": {string(good) + lines[1], transfer.ErrFormat},
		"two exports":         {string(good) + string(good), transfer.ErrFormat},
		"a header in between": {join(lines[:7], lines[:1], lines[7:]), transfer.ErrFormat},
		"no header":           {join(lines[1:]), transfer.ErrFormat},
	} {
		if test.text == string(good) {
			t.Fatalf("%s: not damaged", name)
		}
		if err := inMemory(t).take(t.Context(), []byte(test.text)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		} else if strings.Contains(err.Error(), "example.com") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error quotes it: %v", name, err)
		}
	}
}

// TestEveryCutIsFound cuts an export after each of its bytes.
func TestEveryCutIsFound(t *testing.T) {
	from := inMemory(t)
	from.put(t, newStream(events.CategoryAccount), 1, events.TypeFactsRecorded, []byte(`{"activeDomains":3}`))
	for _, encrypted := range []bool{false, true} {
		good := from.export(t, encrypted)
		for cut := range good {
			r, err := transfer.NewReader(bytes.NewReader(good[:cut]))
			if err == nil {
				_, err = r.Check()
			}
			if !errors.Is(err, transfer.ErrCutOff) && !errors.Is(err, transfer.ErrFormat) {
				t.Fatalf("cut after %d of %d bytes: %v", cut, len(good), err)
			}
		}
	}
}

// forged gives an export a last line that fits what was done to the lines before it.
func forged(t *testing.T, good []byte, change func(string) string) []byte {
	t.Helper()
	lines := slices.Collect(strings.Lines(string(good)))
	last := len(lines) - 1
	body := change(strings.Join(lines[:last], ""))
	var end map[string]map[string]any
	if err := json.Unmarshal([]byte(lines[last]), &end); err != nil {
		t.Fatal(err)
	}
	end["end"]["sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	text, err := json.Marshal(end)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(body), append(text, '\n')...)
}

func TestExportsThatLieAreRefused(t *testing.T) {
	from := inMemory(t)
	fillWithEverything(t, from)
	replace := func(old, new string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("no %q", old)
			}
			return strings.Replace(s, old, new, 1)
		}
	}
	for name, test := range map[string]struct {
		encrypted bool
		change    func(string) string
		want      error
	}{
		"nothing changed":         {false, func(s string) string { return s }, nil},
		"an unknown type":         {false, replace(`"KeyIssued.v1","time"`, `"KeyIssued.v9","time"`), events.ErrUnknownType},
		"data of another type":    {false, replace(`{"activeDomains":`, `{"unknown":`), events.ErrMisfit},
		"metadata of its own":     {false, replace(`"contract":"cli"`, `"colour":"red"`), eventstore.ErrMetadata},
		"a stream of no owner":    {false, replace(`"stream":"account-`, `"stream":"account`), transfer.ErrFormat},
		"a version too far":       {false, replace(`"version":1`, `"version":2`), eventstore.ErrConflict},
		"no version":              {false, replace(`"version":1`, `"version":0`), nil},
		"another log's bytes":     {true, replace(`"position":1,"stream":"account-0`, `"position":1,"stream":"account-1`), transfer.ErrFormat},
		"an event shredded again": {false, replace(`"type":"AccountOpened.v1"`, `"type":"AccountOpened.v1","shredded":true`), transfer.ErrFormat},
	} {
		to := inMemory(t)
		if test.encrypted {
			to = newPlace(t, to.log, from.keys)
		}
		err := to.take(t.Context(), forged(t, from.export(t, test.encrypted), test.change))
		switch {
		case name == "no version":
			if err == nil {
				t.Errorf("%s: taken", name)
			}
		case !errors.Is(err, test.want):
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestImportIntoALogWithEventsIsRefused(t *testing.T) {
	from, to := inMemory(t), inMemory(t)
	fillWithEverything(t, from)
	to.put(t, newStream(events.CategoryAccount), 1, events.TypeFactsRecorded, []byte("{}"))
	if err := to.take(t.Context(), from.export(t, false)); !errors.Is(err, transfer.ErrNotEmpty) {
		t.Errorf("%v", err)
	}
	if head, err := to.log.Head(t.Context()); err != nil || head != 1 {
		t.Errorf("it has %d events, %v", head, err)
	}
}

func TestEmptyLogGoesRound(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		if err := inMemory(t).take(t.Context(), inMemory(t).export(t, encrypted)); err != nil {
			t.Errorf("encrypted %v: %v", encrypted, err)
		}
	}
}

// TestMoreThanAPageGoesRound turns pages of events and of claims.
func TestMoreThanAPageGoesRound(t *testing.T) {
	from, to := inMemory(t), inSQLite(t)
	for i := range 2300 {
		opened := fmt.Appendf(nil, `{"email":"a%d@example.com","paywayId":"%024x"}`, i, i)
		from.put(t, newStream(events.CategoryAccount), 1, events.TypeAccountOpened, opened)
	}
	if err := to.take(t.Context(), from.export(t, false)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(all(t, to), all(t, from)) {
		t.Error("the events differ")
	}
	for _, i := range []int{0, 999, 1000, 2299} {
		want, _ := from.store.Holder(t.Context(), events.EmailClaim(fmt.Sprintf("a%d@example.com", i)))
		if got, err := to.store.Holder(t.Context(), events.EmailClaim(fmt.Sprintf("a%d@example.com", i))); err != nil || got != want || got == "" {
			t.Errorf("account %d: %q holds it, not %q, %v", i, got, want, err)
		}
	}
}

// lossy is a log that keeps something else than it was given.
type lossy struct{ *memory.Log }

func (l lossy) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	for i := range b.Records {
		if b.Records[i].Type == events.TypeAccountErased {
			b.Records[i].Data = []byte(`{ }`)
		}
	}
	return l.Log.Append(ctx, b)
}

func TestLogThatReadsOtherwiseIsFoundOut(t *testing.T) {
	from := inMemory(t)
	fillWithEverything(t, from)
	to := newPlace(t, lossy{memory.New()}, newKeys(t))
	if err := to.take(t.Context(), from.export(t, false)); !errors.Is(err, transfer.ErrOtherLog) {
		t.Errorf("%v", err)
	}
}
