package commands

import (
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

// maxCounted is how many keys a counter keeps. The least recently used key is evicted.
const maxCounted = 1 << 14

// counter counts, for each key, what a limit is on. It counts in this process only: a restart
// or another node begins at zero, and the sum is bounded all the same.
type counter[K comparable] struct {
	Limit
	mu     sync.Mutex
	counts *lru.Cache[K, counted]
}

// counted is how often something was done since a time.
type counted struct {
	since time.Time
	times int
}

func newCounter[K comparable](limit Limit) *counter[K] {
	counts, err := lru.New[K, counted](maxCounted)
	if err != nil {
		panic(err) // only a size below 1 is refused
	}
	return &counter[K]{Limit: limit, counts: counts}
}

// count returns a key's count, and then adds one if add is true and the limit allows it.
func (c *counter[K]) count(key K, now time.Time, add bool) counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, _ := c.counts.Get(key)
	if !now.Before(before.since.Add(c.Span)) {
		before = counted{since: now}
	}
	if add && before.times < c.Most {
		c.counts.Add(key, counted{before.since, before.times + 1})
	}
	return before
}

// add adds one, or returns *TooMany if the limit is used up.
func (c *counter[K]) add(key K, now time.Time) error {
	if before := c.count(key, now, true); before.times >= c.Most {
		return &TooMany{Limit: c.Limit, RetryAfter: before.since.Add(c.Span).Sub(now)}
	}
	return nil
}

// subtract removes one that does not count after all.
func (c *counter[K]) subtract(key K) {
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

func newGuesses() *guesses {
	return &guesses{newCounter[caller](credentialGuesses), newCounter[ulid.ULID](accountGuesses)}
}

func (g *guesses) add(by caller, now time.Time) error {
	if err := g.credentials.add(by, now); err != nil {
		return err
	}
	err := g.accounts.add(by.account, now)
	if err != nil {
		g.credentials.subtract(by)
	}
	return err
}

func (g *guesses) subtract(by caller) {
	g.credentials.subtract(by)
	g.accounts.subtract(by.account)
}
