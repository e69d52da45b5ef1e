package commands

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// ChangePassword sets a new password, ends all sessions of the account except one, and
// cancels a pending email change. API keys stay valid.
type ChangePassword struct {
	CurrentPassword string // must be the account's, if it has one
	NewPassword     string
	Session         ulid.ULID // that stays valid: the caller's own; zero for none
	If              Condition

	proof  proof
	wrong  *fault // what the rule for all passwords says of the new one
	judged bool   // the new password's strength was judged
	hash   string // of the new password; "" if it is weak
}

// prepare does the costly work. Each step runs only if the steps before succeeded: a caller
// who does not know the current password cannot make konto judge and hash a new one.
func (p ChangePassword) prepare(ctx context.Context, h *Accounts, by caller) (_ Command, err error) {
	state, err := h.known(ctx, by.account)
	if err != nil {
		return nil, err
	}
	if p.proof, err = h.prove(ctx, by, p.CurrentPassword, state.PasswordHash); err != nil {
		return nil, err
	}
	var normal string
	normal, p.wrong = newPassword(p.NewPassword)
	if p.wrong != nil || !p.proof.holds || existsAt(state, p.If) != nil {
		return p, nil
	}
	p.judged = true
	p.hash, err = hashIfStrong(ctx, normal, &state)
	return p, err
}

func (p ChangePassword) decide(state events.Account, at time.Time) (decision, error) {
	var c checker
	if err := p.proof.check(&c, state); err != nil {
		return decision{}, err
	}
	wrong := p.wrong
	switch {
	case p.NewPassword == "":
		wrong = &fault{CodeMustBeSet, "A new password is required."}
	case wrong != nil && wrong.code == CodeInvalidValue: // HostUp's code for a short one
		wrong = &fault{CodeWeakPassword, wrong.detail}
	case wrong == nil && p.judged && p.hash == "":
		wrong = &fault{CodeWeakPassword, "The password is too easy to guess."}
	}
	if wrong != nil {
		c.reject("/newPassword", wrong)
	}
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if err := existsAt(state, p.If); err != nil {
		return decision{}, err
	}
	if !p.judged { // the account reached the caller's version after prepare
		return decision{}, ErrBusy
	}
	changed := events.PasswordChanged{Hash: p.hash, Session: p.Session}
	return decision{payloads: append(cancelPending(&state, at), changed)}, nil
}

// proof is what prepare found about the current password. It is valid for one hash.
type proof struct {
	hash  string // that the password was compared with; "" if the account has none
	holds bool   // the password is right, or none is needed
	given bool
	// refused is the *TooMany because of which the password was not compared. decide
	// returns it, so that a repeated request finds its receipt first.
	refused error
}

// prove compares a password with an account's hash, unless too many passwords were wrong.
func (h *Accounts) prove(ctx context.Context, by caller, password, hash string) (proof, error) {
	p := proof{hash: hash, holds: hash == "", given: password != ""}
	if p.holds || !p.given {
		return p, nil
	}
	// Each comparison is counted before it is made, so that many at once cannot pass the
	// limit. A right password is subtracted again.
	if p.refused = h.guesses.add(by, h.now()); p.refused != nil {
		return p, nil
	}
	var err error
	if p.holds, err = verifyPassword(ctx, password, hash); err != nil || p.holds {
		h.guesses.subtract(by)
	}
	return p, err
}

// check rejects a wrong password. If the account has another hash by now, nothing was proved,
// so the error is ErrBusy and the caller tries again.
func (p proof) check(c *checker, state events.Account) error {
	switch {
	case p.hash != state.PasswordHash:
		return ErrBusy
	case p.refused != nil:
		return p.refused
	case p.holds:
	case !p.given:
		c.reject("/currentPassword", &fault{CodeMustBeSet, "The current password is required."})
	default:
		c.reject("/currentPassword", &fault{CodeIncorrect, "The current password is another one."})
	}
	return nil
}

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
