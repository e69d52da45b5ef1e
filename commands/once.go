package commands

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// onceFor is how long it is remembered what was done for a request.
const onceFor = 24 * time.Hour

// Once names a request, so that it is carried out once however often it is
// sent. The zero Once names none.
//
// A receipt in the append's own transaction remembers what the request came to.
// It is left even when nothing changed, and for a refusal that was stored, such
// as a wrong code. Any other request that was refused is judged anew when it is
// sent again.
type Once struct {
	Name        string            // who asks, and the name that the request has there
	Fingerprint [sha256.Size]byte // of all that makes it this request and no other
	At          time.Time         // when it was taken up; given back in Outcome.At
}

// receipt is what the log remembers of a request. It stays readable for onceFor
// after konto was updated: members are only ever added.
type receipt struct {
	Fingerprint [sha256.Size]byte `json:"fingerprint"`
	At          time.Time         `json:"at"`
	Version     uint64            `json:"version"` // of the account afterwards
	Rejected    []FieldError      `json:"rejected,omitempty"`
	Refused     []FieldError      `json:"refused,omitempty"` // the request, although events were stored
}

// replay returns what a request came to when it was carried out before; ok is
// false when it was not, or not within onceFor. The error is ErrReused when the
// name was another request's, and the *Invalid with which it was refused.
func (h *Accounts) replay(ctx context.Context, once Once) (out Outcome, ok bool, err error) {
	if once.Name == "" {
		return Outcome{}, false, nil
	}
	stream, data, err := h.store.Receipt(ctx, once.Name)
	switch {
	case errors.Is(err, eventstore.ErrDestroyed):
		return Outcome{}, false, ErrReused // by an account that was erased since
	case err != nil:
		return Outcome{}, false, fmt.Errorf("look up a request: %w", err)
	case stream == "":
		return Outcome{}, false, nil
	}
	var r receipt
	if err := json.Unmarshal(data, &r); err != nil {
		return Outcome{}, false, fmt.Errorf("read what a request to %s came to: %w", stream, err)
	}
	if r.Fingerprint != once.Fingerprint {
		return Outcome{}, false, ErrReused
	}
	if len(r.Refused) > 0 {
		return Outcome{Replayed: true}, true, &Invalid{Fields: r.Refused}
	}
	_, id, err := stream.Split()
	if err != nil {
		return Outcome{}, false, err
	}
	account, err := h.at(ctx, id, r.Version)
	return Outcome{Account: account, Rejected: r.Rejected, At: r.At, Replayed: true}, err == nil, err
}

// at is the account as it was at a version that it has reached.
func (h *Accounts) at(ctx context.Context, id ulid.ULID, version uint64) (*events.Account, error) {
	state, ok := h.cache.Peek(id)
	if !ok || state.Version > version {
		state = h.snapshot(ctx, id, version)
	}
	return h.foldTo(ctx, id, state, version)
}

// replays looks up which calls of a batch were carried out before, by this node
// or another. A state that was read before it is no younger than the answer: a
// call that is not found is not in the state either.
func (h *Accounts) replays(ctx context.Context, batch []*call) (map[*call]verdict, error) {
	var known map[*call]verdict // nil is enough for nearly all batches
	for _, c := range batch {
		out, ok, err := h.replay(ctx, c.once)
		if err != nil && !ok && !errors.Is(err, ErrReused) {
			return nil, err
		}
		if ok || err != nil {
			if known == nil {
				known = make(map[*call]verdict)
			}
			known[c] = verdict{call: c, outcome: out, err: err}
		}
	}
	return known, nil
}

// repeats gives a call the verdict of one before it in the round, when both are
// the same request.
func (r *round) repeats(c *call) (verdict, bool) {
	if c.once.Name == "" {
		return verdict{}, false
	}
	for _, first := range r.verdicts {
		stored := first.err == nil || first.outcome.Changed // a refusal that was stored counts
		if !stored || first.call.once.Name != c.once.Name {
			continue
		}
		if first.call.once.Fingerprint != c.once.Fingerprint {
			return verdict{call: c, err: ErrReused}, true
		}
		again := first
		again.call, again.outcome.Changed, again.outcome.Replayed = c, false, true
		return again, true
	}
	return verdict{}, false
}

// leave adds the receipt of a call that was decided; refusal is what the caller
// is told although events are stored, or nil.
func (h *Accounts) leave(r *round, once Once, out Outcome, refusal *Invalid) error {
	left := receipt{Fingerprint: once.Fingerprint, At: once.At, Version: out.Account.Version, Rejected: out.Rejected}
	if refusal != nil {
		left.Refused = refusal.Fields
	}
	data, err := json.Marshal(left)
	if err != nil {
		return fmt.Errorf("write down what a request came to: %w", err)
	}
	expires := h.now().Add(onceFor).UTC().Truncate(time.Millisecond)
	r.receipts = append(r.receipts, eventstore.NamedReceipt{Name: once.Name, Data: data, Expires: expires})
	return nil
}
