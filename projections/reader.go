package projections

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// Reader returns accounts that are never older than any write acknowledged before
// the call.
type Reader struct {
	Store    *eventstore.Store // required
	Model    *ReadModel        // required
	Follower *Follower         // required, the one that feeds Model
	// Waited says that every caller has waited for Model before, so that the log need not be
	// asked. On several machines that saves a round trip to a standby.
	Waited bool
	// Patience is how long a read waits for the follower before it folds the log
	// itself. 0 means 50 ms, which is many times what a healthy follower needs.
	Patience time.Duration
}

// ErrNoAccount is returned for an account that was never opened, or was erased.
var ErrNoAccount = errors.New("no such account")

// Account waits until the read model has the account's last event. If that takes
// longer than Patience, or if the follower retries or has stopped, it folds the log
// itself.
func (r *Reader) Account(ctx context.Context, id ulid.ULID) (events.Account, error) {
	if r.Waited {
		a, _, err := r.Model.Account(ctx, id)
		if err == nil && !a.Exists() {
			err = ErrNoAccount
		}
		return a, err
	}
	head, err := r.Store.StreamHead(ctx, events.AccountStream(id))
	if err != nil {
		return events.Account{}, err
	}
	if head.Version == 0 {
		return events.Account{}, ErrNoAccount
	}
	a, _, err := r.Model.Account(ctx, id)
	if err == nil && a.Version < head.Version && r.follows(ctx, head.Position) {
		a, _, err = r.Model.Account(ctx, id)
	}
	if err == nil && a.Version < head.Version {
		err = r.Store.Fold(ctx, events.AccountStream(id), math.MaxUint64, &a.Version, a.Apply)
	}
	if err != nil {
		return events.Account{}, err
	}
	if !a.Exists() {
		return events.Account{}, ErrNoAccount
	}
	return a, nil
}

// follows reports whether the read model reaches the position in time.
func (r *Reader) follows(ctx context.Context, position uint64) bool {
	patience := r.Patience
	if patience == 0 {
		patience = 50 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.Follower.WaitUnlessRetrying(ctx, position) == nil
}
