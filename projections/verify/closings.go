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

// closing is the change of a password, which closes sessions.
type closing struct {
	position uint64
	at       time.Time
	kept     ulid.ULID // the session that stays open
}

// closingsKept is how many accounts' closings are cached.
const closingsKept = 10_000

// closings finds out when an account's sessions were closed. It caches the closings,
// because an account may have many sessions and a long stream.
type closings struct {
	log   eventstore.Reader
	store *eventstore.Store
	cache *simplelru.LRU[ulid.ULID, []closing]
}

func newClosings(store *eventstore.Store, log eventstore.Reader) *closings {
	cache, err := simplelru.NewLRU[ulid.ULID, []closing](closingsKept, nil)
	if err != nil {
		panic(err) // the size is not positive
	}
	return &closings{log: log, store: store, cache: cache}
}

// of returns, in order, the closings of accounts after a position. Zero ids are
// skipped.
func (c *closings) of(ctx context.Context, after uint64, accounts ...ulid.ULID) ([]closing, error) {
	var all []closing
	for _, id := range accounts {
		if id.IsZero() {
			continue
		}
		known, ok := c.cache.Get(id)
		if !ok {
			var err error
			if known, err = c.read(ctx, id); err != nil {
				return nil, err
			}
			c.cache.Add(id, known)
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
