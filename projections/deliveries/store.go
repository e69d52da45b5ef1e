package deliveries

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// Store holds how far each third party has come, a Delivery for each of its accounts, and the
// delivery log (attempts.go). A File is the store of a single machine. All methods may be called
// by many goroutines at once.
//
// A change is durable when its method returns nil. After an error a change may or may not have
// been stored. To make it once more is harmless, except that the delivery log then has a second
// row.
type Store interface {
	// Hold calls run once no other process that has the same store may send to the third party. held
	// ends when another one soon may; it does not end with ctx. Then requests under way have to be
	// cut off, and what came of them is not stored. Hold returns ctx's error if ctx ends before it
	// calls run, and otherwise what run returns, or why held ended.
	Hold(ctx context.Context, party ulid.ULID, run func(held context.Context, s Held) error) error

	// Position returns how far a third party's reading of the log has come. Every event up to there
	// is done, or its account's row waits. ok is false when the store does not know the position,
	// because it never did or because it was lost.
	Position(ctx context.Context, party ulid.ULID) (position uint64, ok bool, err error)
	// SetPosition stores how far the reading of the log has come. Every event up to there must be
	// done, or its account's row must wait. Like Save, it does not end with ctx.
	SetPosition(ctx context.Context, party ulid.ULID, position uint64) error
	// Parties returns the ids of all third parties of which the store has any row.
	Parties(ctx context.Context) ([]ulid.ULID, error)
	// Save stores what an attempt changed, in one transaction: the account's delivery as it is from
	// now on, and a row of the delivery log. Either may be nil: a redelivery changes no delivery, and
	// a delivery that has nothing more to send had no attempt. Save does not end with ctx, because
	// what was delivered must be stored even if its caller stops.
	Save(ctx context.Context, party ulid.ULID, d *Delivery, a *Attempt) error
	// Delivery returns what is stored of an account and a third party. ok is false when nothing is,
	// because the third party was sent nothing about the account.
	Delivery(ctx context.Context, party, account ulid.ULID) (d Delivery, ok bool, err error)
	// Waiting returns a third party's deliveries that have something to send, the first to be due at
	// the beginning.
	Waiting(ctx context.Context, party ulid.ULID) ([]Delivery, error)
	// ResetSchedule makes all of a third party's deliveries that wait due now, as if their events had
	// never been tried.
	ResetSchedule(ctx context.Context, party ulid.ULID) error
	// Rewind sets a third party's position back, so that everything after it is sent again. What was
	// done after the position counts as never sent. A delivery that waits with an event at or before
	// the position goes on waiting. When the store knows no position, it is set to this one. A run
	// that is under way must not go on: another process's ends by itself, because the store refuses
	// its changes from then on. Error: ErrNotReached.
	Rewind(ctx context.Context, party ulid.ULID, position uint64) error
	// DeleteParty deletes all rows of a third party. After an error, or when ctx ends, some are left,
	// and the call can be repeated.
	DeleteParty(ctx context.Context, party ulid.ULID) error
	// DeleteAccount deletes the attempts of an account, and its deliveries that do not wait. A
	// delivery that waits stays until the next call: the account's erasure may still have to be sent.
	// It holds numbers and times alone. After an error the call has to be repeated.
	DeleteAccount(ctx context.Context, account ulid.ULID) error
	// LastDelivered is when a third party last accepted an event, as far as the delivery log goes
	// back. It is zero when there was none.
	LastDelivered(ctx context.Context, party ulid.ULID) (time.Time, error)
	// Attempts reads the delivery log.
	Attempts(ctx context.Context, f Filter) ([]Attempt, error)
	// Shared reports whether other processes may use the store at the same time.
	Shared() bool
	// Close ends the use of the store. Changes under way are stored or not, and their callers learn
	// which.
	Close() error
}

// Held is a Store during Hold. It refuses changes of the third party once another process may send
// to it.
type Held interface {
	Store
	// MaySend reports whether no other process sends to the third party for as long as a request may
	// take from now on.
	MaySend() bool
}

// ErrNotReached means that Rewind was to set a third party's position ahead, which would
// lose the events in between. Nothing was changed.
var ErrNotReached = errors.New("third party has not come so far")

// OwesErasure reports whether the erasure of an account still has to be sent to a third party in
// one of Payway's formats, which name an account by its Payway id. end is where the account's
// stream ends, with AccountErased.
func OwesErasure(ctx context.Context, s Store, parties []events.ThirdParty, account ulid.ULID, end eventstore.StreamHead) (bool, error) {
	for i := range parties {
		p := &parties[i]
		if p.Format != events.FormatPayway && p.Format != events.FormatPaywaySSI || !p.Wants(events.TypeAccountErased) {
			continue
		}
		done, err := hasDone(ctx, s, p, account, end)
		if err != nil || !done {
			return true, err
		}
	}
	return false, nil
}

// hasDone reports whether a third party is done with an account's last event.
func hasDone(ctx context.Context, s Store, p *events.ThirdParty, account ulid.ULID, last eventstore.StreamHead) (bool, error) {
	d, ok, err := s.Delivery(ctx, p.ID, account)
	if err != nil || ok && d.Version >= last.Version {
		return err == nil, err
	}
	if ok && d.waits() {
		return false, nil
	}
	position, known, err := s.Position(ctx, p.ID)
	if !known {
		position = p.Checkpoint
	}
	return err == nil && position >= last.Position, err
}
