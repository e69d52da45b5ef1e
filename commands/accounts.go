package commands

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// defaultCachedAccounts is the default of Config.CachedAccounts, about 30 MB of states.
const defaultCachedAccounts = 20_000

// Config configures Accounts.
type Config struct {
	Store *eventstore.Store // required
	// Snapshots are where the fold of an account that is not cached begins. If nil, it
	// begins at the first event.
	Snapshots Snapshots
	// CachedAccounts is how many folded states are cached. 0 or less means 20,000.
	CachedAccounts int
	// Counts counts wrong passwords, and requests for taken email addresses, for all nodes
	// together. nil means that this process counts in memory.
	Counts Counts
	Now    Clock
}

// Snapshots has folded states of accounts, as projections.ReadModel does. They may be behind
// the log, but they are never of another log.
type Snapshots interface {
	// Account returns a state of one account. ok is false if there is none.
	Account(ctx context.Context, id ulid.ULID) (state events.Account, ok bool, err error)
}

// Accounts runs commands on accounts: load, decide, append (commit.go). It is safe for
// concurrent use, and several nodes with one Accounts each may share a log.
type Accounts struct {
	store  *eventstore.Store
	now    Clock
	queues queues
	cache  *lru.Cache[ulid.ULID, *events.Account] // the states are shared, so nobody changes them

	snapshots Snapshots // nil if there are none

	guesses       guesses
	takenRequests *counter[ulid.ULID] // requests for email addresses that others have

	codes events.EmailCodes
}

// NewAccounts returns an Accounts.
func NewAccounts(cfg Config) *Accounts {
	if cfg.CachedAccounts <= 0 {
		cfg.CachedAccounts = defaultCachedAccounts
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cache, err := lru.New[ulid.ULID, *events.Account](cfg.CachedAccounts)
	if err != nil {
		panic(err) // only a size below 1 is refused
	}
	return &Accounts{
		store: cfg.Store, now: cfg.Now, cache: cache, snapshots: cfg.Snapshots, codes: events.NewEmailCodes(cfg.Store.Derive),
		guesses:       guesses{newCounter[caller](credentialGuesses, cfg.Counts), newCounter[ulid.ULID](accountGuesses, cfg.Counts)},
		takenRequests: newCounter[ulid.ULID](emailRequestLimit, cfg.Counts),
	}
}

// Load returns the account's present state, or ErrNotFound if it does not exist.
func (h *Accounts) Load(ctx context.Context, id ulid.ULID) (events.Account, error) {
	state, fresh, err := h.recall(ctx, id)
	if err == nil && !fresh {
		state, err = h.refresh(ctx, id, state)
	}
	if err != nil {
		return events.Account{}, err
	}
	h.remember(state)
	if !state.Exists() {
		return events.Account{}, ErrNotFound
	}
	return *state, nil
}

// known is Load, but returns the zero state for an account that does not exist: decide
// refuses that, in the contract's order.
func (h *Accounts) known(ctx context.Context, id ulid.ULID) (events.Account, error) {
	state, err := h.Load(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return events.Account{}, nil
	}
	return state, err
}

// Find returns the account that holds a claim, or ErrNotFound. For email addresses use FindEmail.
func (h *Accounts) Find(ctx context.Context, c events.Claim) (ulid.ULID, error) {
	holder, err := h.store.Holder(ctx, c)
	if err != nil {
		return ulid.ULID{}, fmt.Errorf("look up the holder of a claim: %w", err)
	}
	if holder == "" {
		return ulid.ULID{}, ErrNotFound
	}
	_, id, err := holder.Split()
	return id, err
}

// Prefixes with which the contracts show an account's id.
const (
	ClientPrefix  = "client_" // HostUp
	AccountPrefix = "acct_"   // generic
)

var shownPaywayID = regexp.MustCompile(`^[0-9A-Fa-f]{24}$`)

// ErrNoID means that a text cannot be an account's id.
var ErrNoID = errors.New("not an account's id")

// FindByID returns the account that has an id, in any form in which konto shows one: a ULID,
// client_..., acct_... or a Payway id. If it is a ULID in one of its forms, there need be no such
// account. Other errors: ErrNoID, ErrNotFound.
func (h *Accounts) FindByID(ctx context.Context, shown string) (ulid.ULID, error) {
	bare := strings.TrimPrefix(strings.TrimPrefix(shown, ClientPrefix), AccountPrefix)
	if id, err := ulid.ParseStrict(bare); err == nil {
		return id, nil
	}
	if !shownPaywayID.MatchString(shown) {
		return ulid.ULID{}, ErrNoID
	}
	return h.Find(ctx, events.PaywayIDClaim(shown))
}

// FindEmail returns the account that has an email address, in any spelling, or ErrNotFound.
// Earlier builds of konto allowed several accounts with one address. Of these it returns the
// one with exactly this spelling. If there is none, the error is a *Shared, which matches
// ErrNotFound.
func (h *Accounts) FindEmail(ctx context.Context, email string) (ulid.ULID, error) {
	holders, err := h.store.Holders(ctx, events.EmailClaim(email))
	if err != nil {
		return ulid.ULID{}, fmt.Errorf("look up the holders of an address: %w", err)
	}
	var shared Shared
	for _, holder := range holders {
		_, id, err := holder.Split()
		if err != nil || len(holders) == 1 {
			return id, err
		}
		a, err := h.known(ctx, id)
		if err != nil || a.Email == email {
			return id, err
		}
		shared.Accounts = append(shared.Accounts, id)
	}
	if len(shared.Accounts) > 0 {
		return ulid.ULID{}, &shared
	}
	return ulid.ULID{}, ErrNotFound
}

// claimChanges is the difference between the claims of two states of an account. Released
// claims come first. The log accepts either order.
func claimChanges(before, after *events.Account) []eventstore.ClaimChange {
	held, wanted := before.Claims(), after.Claims()
	var changes []eventstore.ClaimChange
	for _, c := range held {
		if !slices.Contains(wanted, c) {
			changes = append(changes, eventstore.ClaimChange{Claim: c, Release: true})
		}
	}
	for _, c := range wanted {
		if !slices.Contains(held, c) {
			changes = append(changes, eventstore.ClaimChange{Claim: c})
		}
	}
	return changes
}

// claimField is the JSON pointer of the field that a kind of claim is on.
func claimField(kind string) string {
	switch kind {
	case events.ClaimEmail:
		return fieldEmail
	case events.ClaimSocialSecurityNumber:
		return fieldSocialSecurityNumber
	case events.ClaimPaywayID:
		return fieldPaywayID
	case events.ClaimCustomerNumber:
		return fieldCustomerNumber
	case events.ClaimIdentity:
		return fieldSubject
	}
	return "/" + kind
}

// recall returns the account's cached state, which may be behind the log. If none is cached,
// it folds the log, and the state is fresh. An unknown account has the zero state. States are
// never changed after they are made, because others may hold them.
func (h *Accounts) recall(ctx context.Context, id ulid.ULID) (state *events.Account, fresh bool, err error) {
	if state, ok := h.cache.Get(id); ok {
		return state, false, nil
	}
	state, err = h.fold(ctx, id, h.snapshot(ctx, id, math.MaxUint64), math.MaxUint64)
	return state, true, err
}

// snapshot returns a state of at most that version, to begin a fold with. A snapshot that
// cannot be read is no error, because the log has all events. A snapshot of an erased account
// is not used.
func (h *Accounts) snapshot(ctx context.Context, id ulid.ULID, version uint64) *events.Account {
	if h.snapshots != nil {
		if state, ok, err := h.snapshots.Account(ctx, id); err == nil && ok && !state.Erased && state.Version <= version {
			return &state
		}
	}
	return &events.Account{}
}

// refresh folds the events that a state lacks.
func (h *Accounts) refresh(ctx context.Context, id ulid.ULID, state *events.Account) (*events.Account, error) {
	head, err := h.store.StreamHead(ctx, events.AccountStream(id))
	if err != nil {
		return nil, fmt.Errorf("look up account %s: %w", id, err)
	}
	if head.Version == state.Version {
		return state, nil
	}
	return h.fold(ctx, id, state, math.MaxUint64)
}

// fold applies the events that follow a state, up to a version.
func (h *Accounts) fold(ctx context.Context, id ulid.ULID, from *events.Account, version uint64) (*events.Account, error) {
	state := *from
	if err := h.store.Fold(ctx, events.AccountStream(id), version, &state.Version, state.Apply); err != nil {
		return nil, fmt.Errorf("read account %s: %w", id, err)
	}
	return &state, nil
}

// remember caches a state unless a later one is cached. If two goroutines cache at the same
// time, the older state can remain, which costs one comparison with the log. Unknown accounts
// are not cached, so that requests for them do not evict others.
func (h *Accounts) remember(state *events.Account) {
	if state.Version == 0 {
		return
	}
	if known, ok := h.cache.Peek(state.ID); ok && known.Version > state.Version {
		return
	}
	h.cache.Add(state.ID, state)
}

// evict removes a state that may not be the log's any more.
func (h *Accounts) evict(id ulid.ULID) { h.cache.Remove(id) }
