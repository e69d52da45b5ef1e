package verify

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// TestEventsThatDoNotFoldAreFound appends, in good order, what should not be there.
func TestEventsThatDoNotFoldAreFound(t *testing.T) {
	append := func(t *testing.T, h *fixture, stream events.Stream, version uint64, name, data string) uint64 {
		e := events.Event{ID: ulid.Make(), Stream: stream, Version: version + 1, Type: name, Time: time.Now().UTC().Truncate(time.Millisecond), Data: []byte(data)}
		position, err := h.store.Append(t.Context(), stream, version, nil, []events.Event{e})
		must(t, err)
		return position
	}
	for name, test := range map[string]struct{ event, data, what string }{
		"a type that is unknown":    {"AccountMerged.v1", `{}`, "its type is unknown"},
		"data that does not decode": {events.TypeEmailChanged, `{"Anna": true}`, "its data does not decode"},
		"another category's event":  {events.TypeSessionOpened, `{"authType":"session","secretHash":""}`, "does not belong in"},
	} {
		t.Run(name, func(t *testing.T) {
			h := begin(t)
			a := h.opened(t, 1)
			must(t, h.follow(t.Context()))
			position := append(t, h, a.stream, 1, test.event, test.data)
			h.opened(t, 2)
			report := run(t, h)
			finds(t, report, position, test.what)
			if first := report.Problems[0]; first.Position != position || first.Stream != a.stream {
				t.Errorf("%+v", report.Problems)
			}
		})
	}
	t.Run("a stream of no category", func(t *testing.T) {
		h := begin(t)
		position := append(t, h, events.Stream("order-"+ulid.Make().String()), 0, events.TypeAccountErased, `{}`)
		finds(t, run(t, h), position, "of no category")
	})
	t.Run("metadata", func(t *testing.T) {
		h := begin(t)
		a := h.opened(t, 1)
		_, err := h.log.Append(t.Context(), eventstore.Batch{Stream: a.stream, Expected: 1, Records: []eventstore.Record{{
			Stream: a.stream, Version: 2, ID: ulid.Make(), Type: events.TypeAccountErased, Time: time.Now().UTC().Truncate(time.Millisecond),
			Metadata: []byte("Anna"), Data: []byte("{}"),
		}}})
		must(t, err)
		finds(t, run(t, h), 2, "metadata does not decode")
	})
}

func TestDestroyedKeysAreFineWhereTheStreamEnded(t *testing.T) {
	h := begin(t)
	h.populate(t, 2)
	clean(t, h)
	living := h.live(t, 70)
	must(t, h.follow(t.Context()))
	must(t, h.keys.Destroy(t.Context(), living.stream))
	report := run(t, h)
	finds(t, report, 0, "its key was destroyed, but no event ends its stream")
	finds(t, report, 0, "it holds a claim that its events do not give")
}

// An older copy of the keyring has the keys of those who were erased since.
func TestKeyThatOutlivesAnErasureIsFound(t *testing.T) {
	h := begin(t)
	erased := h.author(t, events.AccountStream(ulid.Make()))
	erased.write(events.AccountOpened{}).write(events.AccountErased{})
	must(t, h.follow(t.Context()))
	cfg := h.config()
	if report, err := Run(t.Context(), cfg); err != nil || !report.OK {
		t.Errorf("while the erasure may be under way: %+v, %v", report, err)
	}
	cfg.Erasing = time.Nanosecond
	report, err := Run(t.Context(), cfg)
	must(t, err)
	finds(t, report, 0, "the account was erased, and its key is still there")
	must(t, h.keys.Destroy(t.Context(), erased.stream))
	if report, err := Run(t.Context(), cfg); err != nil || !report.OK {
		t.Errorf("once the key is destroyed: %+v, %v", report, err)
	}
}

func TestThirdPartyWhoseKeyIsDestroyed(t *testing.T) {
	h := begin(t)
	p := h.author(t, events.ThirdPartyStream(ulid.Make()))
	p.write(events.ThirdPartyAdded{Name: "crm", Secret: events.WebhookSecrets{}}).write(events.ThirdPartyPaused{})
	must(t, h.follow(t.Context()))
	must(t, h.keys.Destroy(t.Context(), p.stream))
	report := run(t, h)
	finds(t, report, 1, "no event ends its stream")
	finds(t, report, 2, "it holds a claim that its events do not give")
	if report.Found != 2 {
		t.Errorf("%+v", report)
	}
	p.write(events.ThirdPartyRemoved{})
	must(t, h.follow(t.Context()))
	clean(t, h)
}
