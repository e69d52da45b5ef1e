package verify

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// closing is a password that was changed, which closed sessions.
type closing struct {
	position uint64
	at       time.Time
	kept     ulid.ULID // the session that went on
}

// closingsKept is how many accounts' closings are kept.
const closingsKept = 10_000

// closings finds out when an account's sessions were closed. An account may have
// many sessions and a long stream, so what was found last is kept.
type closings struct {
	log    eventstore.Reader
	store  *eventstore.Store
	recent *simplelru.LRU[ulid.ULID, []closing]
}

func newClosings(store *eventstore.Store, log eventstore.Reader) *closings {
	recent, err := simplelru.NewLRU[ulid.ULID, []closing](closingsKept, nil)
	if err != nil {
		panic(err) // the size is not positive
	}
	return &closings{log: log, store: store, recent: recent}
}

// of lists, in order, what closed sessions of accounts after a position. Accounts
// that are zero have none.
func (c *closings) of(ctx context.Context, after uint64, accounts ...ulid.ULID) ([]closing, error) {
	var all []closing
	for _, id := range accounts {
		if id.IsZero() {
			continue
		}
		known, ok := c.recent.Get(id)
		if !ok {
			var err error
			if known, err = c.read(ctx, id); err != nil {
				return nil, err
			}
			c.recent.Add(id, known)
		}
		for _, one := range known {
			if one.position > after {
				all = append(all, one)
			}
		}
	}
	slices.SortFunc(all, func(a, b closing) int { return int(int64(a.position) - int64(b.position)) })
	return all, nil
}

func (c *closings) read(ctx context.Context, id ulid.ULID) (found []closing, err error) {
	for r, err := range eventstore.Records(ctx, c.log, events.AccountStream(id), 0, math.MaxUint64) {
		if err != nil {
			return nil, err
		}
		if r.Type != events.TypePasswordChanged {
			continue
		}
		// An event that cannot be read is reported with its own stream.
		if e, err := c.store.OpenRecord(ctx, r); err == nil {
			if p, err := e.Payload(); err == nil {
				if changed, ok := p.(events.PasswordChanged); ok {
					found = append(found, closing{position: r.Position, at: r.Time, kept: changed.Session})
				}
			}
		}
	}
	return found, nil
}
