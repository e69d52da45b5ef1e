package commands

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/oklog/ulid/v2"
)

const (
	// How many wrong passwords an account has in a span of time.
	maxGuesses = 10
	guessesFor = 10 * time.Minute
	// maxGuessed bounds the accounts that are kept in mind.
	maxGuessed = 1 << 14
)

// guesses counts wrong passwords by account, in this process: a restart or
// another node gives some more tries, which still bounds them.
type guesses struct {
	mu     sync.Mutex
	recent *lru.Cache[ulid.ULID, guessed]
}

type guessed struct {
	since time.Time
	count int
}

func newGuesses() *guesses {
	recent, err := lru.New[ulid.ULID, guessed](maxGuessed)
	if err != nil {
		panic(err) // only a size below 1 is refused
	}
	return &guesses{recent: recent}
}

// take counts a guess before it is verified, so that many at once do not all
// slip through.
func (g *guesses) take(id ulid.ULID, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	tries, _ := g.recent.Get(id)
	if !now.Before(tries.since.Add(guessesFor)) {
		tries = guessed{since: now}
	}
	if tries.count >= maxGuesses {
		return &TooMany{RetryAfter: tries.since.Add(guessesFor).Sub(now)}
	}
	tries.count++
	g.recent.Add(id, tries)
	return nil
}

// give takes back a guess that was right.
func (g *guesses) give(id ulid.ULID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if tries, ok := g.recent.Get(id); ok {
		tries.count--
		g.recent.Add(id, tries)
	}
}

// prove holds a password against an account's hash, unless too many were wrong.
func (h *Accounts) prove(ctx context.Context, id ulid.ULID, password, hash string) (proof, error) {
	if hash == "" || password == "" {
		return prove(ctx, password, hash)
	}
	if err := h.guesses.take(id, h.now()); err != nil {
		return proof{hash: hash, refused: err}, nil
	}
	p, err := prove(ctx, password, hash)
	if err != nil || p.holds {
		h.guesses.give(id)
	}
	return p, err
}
