package commands

import (
	"context"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/oklog/ulid/v2"
)

// Limit is how often something may be done in a span of time. The span begins when it is done
// for the first time.
type Limit struct {
	Name string // shown to callers, in RateLimit-Policy
	Most int
	Span time.Duration
}

// The limits on wrong passwords. A credential may try fewer than its account, so that a thief
// with one stolen session cannot prevent the owner's other credentials from changing the
// password.
var (
	credentialGuesses = Limit{"passwords", 10, 10 * time.Minute}
	accountGuesses    = Limit{"account-passwords", 50, 10 * time.Minute}
)

// Counts counts for several nodes together. A name stands for a limit. Keys may be personal data,
// so an implementation stores at most their keyed hashes. It must be safe for concurrent use, and
// its methods must return within seconds. After an error the method may have had its effect.
type Counts interface {
	// Add adds one to the count of a key, unless it has reached most. It returns the count
	// before, and how long the count lasts: span from the first one. Of any number of callers,
	// most add one within a span.
	Add(ctx context.Context, name string, key []byte, most int, span time.Duration) (before int, lasts time.Duration, err error)
	// Count returns the count of a key and how long it lasts.
	Count(ctx context.Context, name string, key []byte) (times int, lasts time.Duration, err error)
	// Subtract removes one from the count of a key.
	Subtract(ctx context.Context, name string, key []byte) error
}

// maxCounted is how many keys a counter keeps in memory. The least recently used key is evicted.
const maxCounted = 1 << 14

// counter counts, for each key, what a limit is on: for all nodes together, or in memory. In
// memory, a restart begins at zero.
type counter[K countable] struct {
	Limit
	shared Counts // nil: in memory
	mu     sync.Mutex
	counts *lru.Cache[K, counted]
}

// countable is something that is counted.
type countable interface {
	comparable
	Bytes() []byte // different for each value
}

// counted is how often something was done since a time.
type counted struct {
	since time.Time
	times int
}

func newCounter[K countable](limit Limit, shared Counts) *counter[K] {
	counts, err := lru.New[K, counted](maxCounted)
	if err != nil {
		panic(err) // only a size below 1 is refused
	}
	return &counter[K]{Limit: limit, shared: shared, counts: counts}
}

// count returns a key's count, and then adds one if add is true and the limit allows it. Its
// error matches ErrUnavailable.
func (c *counter[K]) count(ctx context.Context, key K, now time.Time, add bool) (counted, error) {
	if c.shared != nil {
		return c.countShared(ctx, key, now, add)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before, _ := c.counts.Get(key)
	if !now.Before(before.since.Add(c.Span)) {
		before = counted{since: now}
	}
	if add && before.times < c.Most {
		c.counts.Add(key, counted{before.since, before.times + 1})
	}
	return before, nil
}

func (c *counter[K]) countShared(ctx context.Context, key K, now time.Time, add bool) (counted, error) {
	var before counted
	var lasts time.Duration
	var err error
	if add {
		before.times, lasts, err = c.shared.Add(ctx, c.Name, key.Bytes(), c.Most, c.Span)
	} else {
		before.times, lasts, err = c.shared.Count(ctx, c.Name, key.Bytes())
	}
	if err != nil {
		return counted{}, fmt.Errorf("%w: count %s: %w", ErrUnavailable, c.Name, err)
	}
	if before.since = now; before.times > 0 {
		before.since = now.Add(lasts - c.Span)
	}
	return before, nil
}

// add adds one, or returns *TooMany if the limit is used up, or ErrUnavailable.
func (c *counter[K]) add(ctx context.Context, key K, now time.Time) error {
	before, err := c.count(ctx, key, now, true)
	if err == nil && before.times >= c.Most {
		return &TooMany{Limit: c.Limit, RetryAfter: before.since.Add(c.Span).Sub(now)}
	}
	return err
}

// subtract removes one that does not count after all, also if ctx has ended. If it cannot, the
// limit is stricter until the span ends.
func (c *counter[K]) subtract(ctx context.Context, key K) {
	if c.shared != nil {
		_ = c.shared.Subtract(context.WithoutCancel(ctx), c.Name, key.Bytes())
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.counts.Get(key); ok && n.times > 0 {
		n.times--
		c.counts.Add(key, n)
	}
}

// guesses counts wrong passwords.
type guesses struct {
	credentials *counter[caller]
	accounts    *counter[ulid.ULID]
}

func (g *guesses) add(ctx context.Context, by caller, now time.Time) error {
	if err := g.credentials.add(ctx, by, now); err != nil {
		return err
	}
	err := g.accounts.add(ctx, by.account, now)
	if err != nil {
		g.credentials.subtract(ctx, by)
	}
	return err
}

func (g *guesses) subtract(ctx context.Context, by caller) {
	g.credentials.subtract(ctx, by)
	g.accounts.subtract(ctx, by.account)
}
