package commands

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/oklog/ulid/v2"
)

// Limit is how often something may be done in a span of time that begins when it
// is done for the first time.
type Limit struct {
	Name string // for callers, in RateLimit-Policy
	Most int
	Span time.Duration
}

// The limits on wrong passwords. A credential has fewer than its account, so
// that whoever stole one session cannot keep the owner's other credentials from
// changing the password.
var (
	credentialGuesses = Limit{"passwords", 10, 10 * time.Minute}
	accountGuesses    = Limit{"account-passwords", 50, 10 * time.Minute}
)

// maxCounted bounds the keys that a counter keeps. The one that was unused for
// longest is forgotten first.
const maxCounted = 1 << 14

// counter counts by key what a limit bounds, in this process: a restart or
// another node begins anew, which still bounds the sum.
type counter[K comparable] struct {
	Limit
	mu     sync.Mutex
	recent *lru.Cache[K, counted]
}

// counted is what was done since a time.
type counted struct {
	since time.Time
	times int
}

func newCounter[K comparable](limit Limit) *counter[K] {
	recent, err := lru.New[K, counted](maxCounted)
	if err != nil {
		panic(err) // only a size below 1 is refused
	}
	return &counter[K]{Limit: limit, recent: recent}
}

// count tells what a key has done, and adds one if asked and if the limit allows it.
func (c *counter[K]) count(key K, now time.Time, add bool) counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, _ := c.recent.Get(key)
	if !now.Before(before.since.Add(c.Span)) {
		before = counted{since: now}
	}
	if add && before.times < c.Most {
		c.recent.Add(key, counted{before.since, before.times + 1})
	}
	return before
}

// take counts one more before it is done, so that many at once do not all slip
// through. *TooMany: the limit is used up.
func (c *counter[K]) take(key K, now time.Time) error {
	if before := c.count(key, now, true); before.times >= c.Most {
		return &TooMany{Limit: c.Limit, RetryAfter: before.since.Add(c.Span).Sub(now)}
	}
	return nil
}

// give takes back one that does not count after all.
func (c *counter[K]) give(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.recent.Get(key); ok && n.times > 0 {
		n.times--
		c.recent.Add(key, n)
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

func (g *guesses) take(by caller, now time.Time) error {
	if err := g.credentials.take(by, now); err != nil {
		return err
	}
	err := g.accounts.take(by.account, now)
	if err != nil {
		g.credentials.give(by)
	}
	return err
}

func (g *guesses) give(by caller) {
	g.credentials.give(by)
	g.accounts.give(by.account)
}

// prove holds a password against an account's hash, unless too many were wrong.
func (h *Accounts) prove(ctx context.Context, by caller, password, hash string) (proof, error) {
	if hash == "" || password == "" {
		return prove(ctx, password, hash)
	}
	if err := h.guesses.take(by, h.now()); err != nil {
		return proof{hash: hash, given: true, refused: err}, nil
	}
	p, err := prove(ctx, password, hash)
	if err != nil || p.holds {
		h.guesses.give(by)
	}
	return p, err
}
