package eventstore_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"strings"
	"testing"
	"time"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/memory"
)

func receipt(name, data string) eventstore.NamedReceipt {
	expires := time.Now().UTC().Truncate(time.Millisecond).Add(time.Hour)
	return eventstore.NamedReceipt{Name: name, Data: []byte(data), Expires: expires}
}

// received records the receipts that reach a log.
type received struct {
	eventstore.Log
	all []eventstore.Receipt
	// swap, if set, is the receipt whose data is returned for every key.
	swap *eventstore.ReceiptKey
}

func (l *received) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	l.all = append(l.all, b.Receipts...)
	return l.Log.Append(ctx, b)
}

func (l *received) Receipt(ctx context.Context, key eventstore.ReceiptKey) (events.Stream, []byte, error) {
	stream, data, err := l.Log.Receipt(ctx, key)
	if l.swap != nil {
		_, data, err = l.Log.Receipt(ctx, *l.swap)
	}
	return stream, data, err
}

func TestReceiptsAreReadAsTheyWereStored(t *testing.T) {
	s := eventstore.NewStore(memory.New(), newKeys(t))
	stream := newStream()
	if of, _, err := s.Receipt(t.Context(), "one"); of != "" || err != nil {
		t.Errorf("a receipt that nobody left is of %q, %v", of, err)
	}
	evs := newEvents(t, stream, 0, opening("a@example.se"))
	if _, err := s.Append(t.Context(), stream, 0, nil, evs, receipt("one", "first"), receipt("two", "")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"one": "first", "two": ""} {
		if of, data, err := s.Receipt(t.Context(), name); of != stream || string(data) != want || err != nil {
			t.Errorf("%s is of %q, %q, %v", name, of, data, err)
		}
	}
	_, err := s.Append(t.Context(), newStream(), 0, nil, nil, receipt("one", "another"))
	var repeated *eventstore.Repeated
	if !errors.Is(err, eventstore.ErrRepeated) || !errors.As(err, &repeated) || repeated.Stream != stream {
		t.Errorf("repeated: %v", err)
	}
}

func TestLogReadsNoReceipt(t *testing.T) {
	const canary = "Kanariefågel"
	log := &received{Log: memory.New()}
	for range 2 { // two keyrings
		s := eventstore.NewStore(log, newKeys(t))
		claim := []eventstore.ClaimChange{{Claim: events.Claim{Kind: canary, Value: canary}}}
		if _, err := s.Append(t.Context(), newStream(), 0, claim, nil, receipt(canary, canary), receipt("x", canary)); err != nil {
			t.Fatal(err)
		}
	}
	different := map[eventstore.ReceiptKey]bool{}
	for _, r := range log.all {
		different[r.Key] = true
		if bytes.Contains(r.Data, []byte(canary)[:6]) || bytes.Contains(r.Key[:], []byte(canary)[:6]) {
			t.Errorf("the log sees %q", r)
		}
	}
	if len(log.all) != 4 || len(different) != 4 {
		t.Errorf("%d receipts under %d keys", len(log.all), len(different))
	}
}

func TestExchangedReceiptsAreNoticed(t *testing.T) {
	log := &received{Log: memory.New()}
	s := eventstore.NewStore(log, newKeys(t))
	stream := newStream()
	if _, err := s.Append(t.Context(), stream, 0, nil, nil, receipt("one", "1"), receipt("two", "2")); err != nil {
		t.Fatal(err)
	}
	log.swap = &log.all[1].Key
	if _, data, err := s.Receipt(t.Context(), "one"); !errors.Is(err, eventstore.ErrSealBroken) || !strings.Contains(err.Error(), string(stream)) {
		t.Errorf("read %q, %v", data, err)
	}
	if _, data, err := s.Receipt(t.Context(), "two"); string(data) != "2" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
}

func TestReceiptsCannotBeReadWithoutTheKeyOfTheirStream(t *testing.T) {
	log := memory.New()
	keys := newKeys(t)
	stream := newStream()
	if _, err := eventstore.NewStore(log, keys).Append(t.Context(), stream, 0, nil, nil, receipt("one", "1")); err != nil {
		t.Fatal(err)
	}
	erased := eventstore.NewStore(log, keyless{keys})
	if of, data, err := erased.Receipt(t.Context(), "one"); !errors.Is(err, eventstore.ErrNoKey) || of != "" || data != nil {
		t.Errorf("read %q of %q, %v", data, of, err)
	}
}

// keyless is a keyring that lost the keys of all streams.
type keyless struct{ eventstore.Keys }

func (keyless) Cipher(context.Context, events.Stream) (cipher.AEAD, error) {
	return nil, eventstore.ErrNoKey
}
