package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/memory"
	"konto/eventstore/transfer"
)

// leave appends an event with a receipt.
func (p place) leave(t *testing.T, stream events.Stream, version uint64, name string) {
	t.Helper()
	e := events.Event{
		ID: ulid.Make(), Stream: stream, Version: version, Type: events.TypeFactsRecorded,
		Time: time.UnixMilli(1_790_000_000_123).UTC(), Data: []byte(`{"activeDomains":3}`),
	}
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	receipt := eventstore.NamedReceipt{Name: name, Data: []byte("answer to " + name), Expires: expires}
	if _, err := p.store.Append(t.Context(), stream, version-1, nil, []events.Event{e}, receipt); err != nil {
		t.Fatal(err)
	}
}

func (p place) end(t *testing.T, stream events.Stream, version uint64) {
	t.Helper()
	e := events.Event{ID: ulid.Make(), Stream: stream, Version: version, Type: events.TypeAccountErased, Time: time.UnixMilli(1).UTC(), Data: []byte("{}")}
	if _, err := p.store.Append(t.Context(), stream, version-1, nil, []events.Event{e}); err != nil {
		t.Fatal(err)
	}
}

func receipts(t *testing.T, p place) []eventstore.StoredReceipt {
	t.Helper()
	found, err := p.log.Receipts(t.Context(), eventstore.ReceiptKey{}, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func equal(a, b eventstore.StoredReceipt) bool {
	return a.Key == b.Key && a.Stream == b.Stream && bytes.Equal(a.Data, b.Data) && a.Expires.Equal(b.Expires)
}

func TestReceiptsComeAlongWithAnEncryptedExport(t *testing.T) {
	from := inMemory(t)
	anna := newStream(events.CategoryAccount)
	from.leave(t, anna, 1, "first")
	from.leave(t, anna, 2, "second")
	for i := range 1500 { // more than a page
		from.leave(t, newStream(events.CategoryAccount), 1, strings.Repeat("x", i+1))
	}
	to := newPlace(t, inSQLite(t).log, from.keys)
	if err := to.take(t.Context(), from.export(t, true)); err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(receipts(t, to), receipts(t, from), equal) {
		t.Error("the receipts differ")
	}
	if stream, data, err := to.store.Receipt(t.Context(), "first"); err != nil || stream != anna || string(data) != "answer to first" {
		t.Errorf("a receipt of %q, %q, %v", stream, data, err)
	}
	if in := string(from.export(t, false)); strings.Contains(in, `{"receipt"`) || !strings.Contains(in, `"format":1`) {
		t.Error("an export in clear has receipts, or a format that an earlier konto refuses")
	}
}

// busy is a log to which others append while its receipts are exported.
type busy struct {
	*memory.Log
	before, after func()
}

func (b busy) Receipts(ctx context.Context, after eventstore.ReceiptKey, limit int) ([]eventstore.StoredReceipt, error) {
	if after == (eventstore.ReceiptKey{}) {
		b.before()
		defer b.after()
	}
	return b.Log.Receipts(ctx, after, limit)
}

func TestEveryReceiptBelongsToAnEventOfTheExport(t *testing.T) {
	log := memory.New()
	from := newPlace(t, log, newKeys(t))
	ended := newStream(events.CategoryAccount)
	from.leave(t, ended, 1, "of one who ends")
	during := place{busy{log,
		func() { from.leave(t, newStream(events.CategoryAccount), 1, "late") },
		func() { from.end(t, ended, 2) },
	}, from.keys, from.store}
	to := newPlace(t, memory.New(), from.keys)
	if err := to.take(t.Context(), during.export(t, true)); err != nil {
		t.Fatal(err)
	}
	found := receipts(t, to)
	if len(found) != 1 {
		t.Errorf("%d receipts, want the one of the stream that did not end", len(found))
	}
	for _, r := range found {
		if head, err := to.log.StreamHead(t.Context(), r.Stream); err != nil || head.Version != 1 {
			t.Errorf("there is a receipt of %s, which is at version %d, %v", r.Stream, head.Version, err)
		}
	}
}

func TestEncryptedExportOfAnEarlierKontoIsImported(t *testing.T) {
	from := inMemory(t)
	from.leave(t, newStream(events.CategoryAccount), 1, "first")
	old := func(s string) string { return strings.Replace(s, `"format":2`, `"format":1`, 1) }
	without := func(s string) string {
		lines := slices.Collect(strings.Lines(old(s)))
		return strings.Join(slices.Delete(lines, 1, 2), "") // the receipt
	}
	to := newPlace(t, memory.New(), from.keys)
	if err := to.take(t.Context(), forged(t, from.export(t, true), without)); err != nil {
		t.Error(err)
	}
	if got := all(t, to); len(got) != 1 {
		t.Errorf("%d events", len(got))
	}
	to = newPlace(t, memory.New(), from.keys)
	if err := to.take(t.Context(), forged(t, from.export(t, true), old)); !errors.Is(err, transfer.ErrFormat) {
		t.Errorf("a receipt in format 1: %v", err)
	}
}

// lagging is a log whose feed has the records of other nodes only after a wait.
type lagging struct {
	*memory.Log
	seen uint64
}

func (l *lagging) Wait(ctx context.Context, after uint64) error {
	l.seen = after + 1
	return l.Log.Wait(ctx, after)
}

func (l *lagging) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	if after >= l.seen {
		return nil, nil
	}
	return l.Log.ReadAll(ctx, after, limit)
}

func TestEventsOfOtherNodesAreExported(t *testing.T) {
	log := memory.New()
	from := newPlace(t, log, newKeys(t))
	from.leave(t, newStream(events.CategoryAccount), 1, "first")
	for _, encrypted := range []bool{false, true} {
		behind := place{&lagging{Log: log}, from.keys, from.store}
		if text := behind.export(t, encrypted); strings.Count(string(text), `{"event"`) != 1 {
			t.Errorf("encrypted %v: not one event", encrypted)
		}
	}
}
