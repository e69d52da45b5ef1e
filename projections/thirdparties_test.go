package projections

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func (h *fixture) addThirdParty(name string) ulid.ULID {
	h.t.Helper()
	id := ulid.Make()
	h.append(events.ThirdPartyStream(id), 0, events.ThirdPartyAdded{
		Name: name, URL: "https://" + name + ".example.com/", Format: events.FormatCloudEvents, Events: []string{"EmailChanged"},
		Secret: events.WebhookSecrets{HMAC: []byte(name), Ed25519Seed: []byte{1}},
	})
	return id
}

// foldedParty is what the log says a third party is.
func (h *fixture) foldedParty(id ulid.ULID) (p events.ThirdParty) {
	h.t.Helper()
	evs, err := h.store.ReadStream(h.t.Context(), events.ThirdPartyStream(id), 0, 1<<20)
	h.must(err)
	for _, e := range evs {
		payload, err := e.Payload()
		h.must(err)
		p.Apply(e, payload)
	}
	return p
}

// parties writes some third parties' lives and returns the ids of those that
// are left, in order; two are removed, one of them and one other are called crm.
func (h *fixture) parties() []ulid.ULID {
	h.t.Helper()
	old, idle := h.addThirdParty("crm"), h.addThirdParty("idle")
	busy := h.addThirdParty("busy")
	h.append(events.ThirdPartyStream(old), 1, events.ThirdPartyDisabled{Reason: events.DisabledGone}, events.ThirdPartyRemoved{})
	h.append(events.ThirdPartyStream(busy), 1, events.ThirdPartyPaused{}, events.ThirdPartySecretRotated{
		Secret: events.WebhookSecrets{HMAC: []byte("new"), Ed25519Seed: []byte{2}}, PreviousUntil: time.Now().UTC().Truncate(time.Millisecond).Add(time.Hour),
	})
	crm, brief := h.addThirdParty("crm"), h.addThirdParty("brief")
	h.append(events.ThirdPartyStream(busy), 3, events.ThirdPartyCheckpointed{Position: 4})
	h.append(events.ThirdPartyStream(brief), 1, events.ThirdPartyRemoved{})
	return []ulid.ULID{idle, busy, crm}
}

func (h *fixture) checkParties(ids []ulid.ULID) {
	h.t.Helper()
	var want []events.ThirdParty
	for _, id := range ids {
		want = append(want, h.foldedParty(id))
	}
	got, err := h.model.ThirdParties(h.t.Context())
	h.must(err)
	if !reflect.DeepEqual(got, want) {
		h.t.Errorf("third parties are\n%+v, the log says\n%+v", got, want)
	}
}

func TestThirdPartiesAreTheFoldOfTheLog(t *testing.T) {
	for _, size := range []int{1, 3, 1000} {
		t.Run(fmt.Sprintf("in batches of %d", size), func(t *testing.T) {
			h := newFixture(t)
			ids := h.parties()
			for rest := h.all(0); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				h.must(h.model.Apply(t.Context(), rest[:min(size, len(rest))]))
			}
			h.checkParties(ids)
			h.must(h.model.Close())
			h.openModel()
			h.checkParties(ids)
		})
	}
}

func TestDeletedFileHasTheSameThirdPartiesOnceRebuilt(t *testing.T) {
	h := newFixture(t)
	ids := h.parties()
	h.must(h.model.Apply(t.Context(), h.all(0)))
	h.must(h.model.Close())
	h.must(os.Remove(h.path()))
	h.openModel()
	h.checkParties(nil)
	h.run()
	h.drain()
	h.checkParties(ids)
}

func TestThirdPartyIsFoundByNameOrID(t *testing.T) {
	h := newFixture(t)
	ids := h.parties()
	idle, crm := ids[0], ids[2]
	gone := h.addThirdParty("gone")
	h.append(events.ThirdPartyStream(gone), 1, events.ThirdPartyRemoved{})
	h.must(h.model.Apply(t.Context(), h.all(0)))
	for ref, want := range map[string]ulid.ULID{
		"idle": idle, "crm": crm, crm.String(): crm, strings.ToLower(crm.String()): crm,
		"gone": {}, gone.String(): {}, "nobody": {}, ulid.Make().String(): {}, "": {}, "CRM": {},
	} {
		p, ok, err := h.model.ThirdParty(t.Context(), ref)
		if err != nil || ok == want.IsZero() || p.ID != want {
			t.Errorf("%q is %s (%v), want %s; %v", ref, p.ID, ok, want, err)
		}
	}
}

func TestMovedRowOfAThirdPartyIsRefused(t *testing.T) {
	h := newFixture(t)
	a, b := h.addThirdParty("a"), h.addThirdParty("b")
	h.must(h.model.Apply(t.Context(), h.all(0)))
	_, err := h.model.file.writer.Exec("UPDATE third_party SET content = (SELECT content FROM third_party WHERE id = ?) WHERE id = ?", a[:], b[:])
	h.must(err)
	if _, _, err := h.model.ThirdParty(t.Context(), b.String()); err == nil {
		t.Error("another third party's row was accepted")
	}
	if _, err := h.model.ThirdParties(t.Context()); err == nil {
		t.Error("another third party's row was listed")
	}
}

func TestThirdPartyEventsOutOfStepAreAnError(t *testing.T) {
	for name, payloads := range map[string][2]events.Payload{
		"of another kind of stream": {events.ThirdPartyAdded{Name: "crm"}, events.EmailChanged{}},
		"after its end":             {events.ThirdPartyRemoved{}, events.ThirdPartyPaused{}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t)
			stream := events.ThirdPartyStream(h.addThirdParty("crm"))
			h.append(stream, 1, payloads[0])
			h.must(h.model.Apply(t.Context(), h.all(0)))
			h.append(stream, 2, payloads[1])
			if err := h.model.Apply(t.Context(), h.all(0)); !errors.Is(err, ErrOutOfStep) {
				t.Errorf("Apply returned %v", err)
			}
		})
	}
}
