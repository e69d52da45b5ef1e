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

// onceFor is how long an idempotency key is remembered.
const onceFor = 24 * time.Hour

// Once is a request's idempotency key: the request is carried out once, however often it
// is sent. The zero Once is no key.
//
// The log stores a receipt of the outcome in the transaction of the append. A request that
// changed nothing has a receipt too, and so has a refusal that was stored, such as that of
// a wrong code. Any other refused request is decided again when it is sent again.
type Once struct {
	Name        string            // the client and its key
	Fingerprint [sha256.Size]byte // differs if anything in the request differs
	At          time.Time         // when the request arrived; a repetition gets it in Outcome.At
}

// receipt is what the log stores of a request's outcome. Receipts outlive an update of
// konto, so members may only be added.
type receipt struct {
	Fingerprint [sha256.Size]byte `json:"fingerprint"`
	At          time.Time         `json:"at"`
	Version     uint64            `json:"version"` // of the account after the request
	Rejected    []FieldError      `json:"rejected,omitempty"`
	Refused     []FieldError      `json:"refused,omitempty"` // why it was refused, although events were stored
}

// newReceipt makes the receipt of a request. refusal is nil unless the request is refused
// although its events are stored.
func newReceipt(once Once, out Outcome, refusal *Invalid, now time.Time) (eventstore.NamedReceipt, error) {
	r := receipt{Fingerprint: once.Fingerprint, At: once.At, Version: out.Account.Version, Rejected: out.Rejected}
	if refusal != nil {
		r.Refused = refusal.Fields
	}
	data, err := json.Marshal(r)
	if err != nil {
		return eventstore.NamedReceipt{}, fmt.Errorf("encode a receipt: %w", err)
	}
	expires := now.Add(onceFor).UTC().Truncate(time.Millisecond)
	return eventstore.NamedReceipt{Name: once.Name, Data: data, Expires: expires}, nil
}

// ranBefore reports whether this node or another has carried out the request already, and
// then gives the call the outcome of that time, or ErrReused if it was another request with
// the same key. The error is the log's.
//
// The account's state was read before. So if no receipt is found, that state does not
// include the request either.
func (h *Accounts) ranBefore(ctx context.Context, c *call) (bool, error) {
	if c.once.Name == "" {
		return false, nil
	}
	stream, data, err := h.store.Receipt(ctx, c.once.Name)
	switch {
	case errors.Is(err, eventstore.ErrDestroyed): // the receipt of an erased account
		c.err = ErrReused
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look up a receipt: %w", err)
	case stream == "":
		return false, nil
	}
	var r receipt
	if err := json.Unmarshal(data, &r); err != nil {
		return false, fmt.Errorf("decode a receipt of %s: %w", stream, err)
	}
	switch {
	case r.Fingerprint != c.once.Fingerprint:
		c.err = ErrReused
		return true, nil
	case len(r.Refused) > 0:
		c.outcome, c.err = Outcome{Replayed: true}, &Invalid{Fields: r.Refused}
		return true, nil
	}
	_, id, err := stream.Split()
	if err != nil {
		return false, err
	}
	account, err := h.at(ctx, id, r.Version)
	c.outcome = Outcome{Account: account, Rejected: r.Rejected, At: r.At, Replayed: true}
	return err == nil, err
}

// at is the account as it was at a version that it has reached.
func (h *Accounts) at(ctx context.Context, id ulid.ULID, version uint64) (*events.Account, error) {
	state, ok := h.cache.Peek(id)
	if !ok || state.Version > version {
		state = h.snapshot(ctx, id, version)
	}
	return h.fold(ctx, id, state, version)
}

// repeatsOneOf reports whether an earlier call of the batch is the same request, and then
// gives c that call's outcome, or ErrReused if it is another request with the same key.
func (c *call) repeatsOneOf(earlier []*call) bool {
	if c.once.Name == "" {
		return false
	}
	for _, first := range earlier {
		stored := first.err == nil || first.outcome.Changed // a refusal that is stored counts
		if !stored || first.once.Name != c.once.Name {
			continue
		}
		if first.once.Fingerprint != c.once.Fingerprint {
			c.err = ErrReused
			return true
		}
		c.outcome, c.err = first.outcome, first.err
		c.outcome.Changed, c.outcome.Replayed = false, true
		return true
	}
	return false
}
