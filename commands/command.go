package commands

import (
	"context"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// Command is a change that a caller wants of an account: Open, *Update, RecordFacts,
// RequestEmailChange, ConfirmEmailChange, CancelEmailChange, ChangePassword or Erase.
type Command interface {
	// prepare does what decide must not do: it reads the clock, makes ids, looks up
	// claims and verifies passwords, which takes tens of milliseconds and many
	// megabytes. It runs before the command is queued, because others wait in the
	// queue. The account may change before decide runs, so decide checks what
	// prepare found against the state. prepare refuses nothing, so that a repeated
	// request finds its receipt first.
	prepare(ctx context.Context, h *Accounts, by caller) (Command, error)

	// decide applies the rules. It is pure: for the same state and command it returns
	// the same decision, so a command that lost a race is decided again.
	//
	// The zero state is an account that does not exist. decide accepts it, because a
	// wrong request is reported even if the account is unknown (Payway answers 400
	// before 404).
	decide(state events.Account) (decision, error)
}

// decision is what a command comes to.
type decision struct {
	payloads []events.Payload // the events, in order; none if nothing changes
	rejected []FieldError     // with Update.Partial: the fields that are not stored
	refusal  *Invalid         // the caller's error, although the payloads are stored
}

// caller is a credential that acts for an account.
type caller struct {
	account    ulid.ULID
	credential string
}

// Condition is what the caller demands of the account's version before a
// command may happen (RFC 9110, sections 13.1.1 and 13.1.2). The zero Condition
// demands nothing. A command whose condition does not hold is refused with
// *VersionMismatch, even when it would change nothing.
type Condition struct {
	Match     *Versions // the account must be at one of these; nil: no such demand
	NoneMatch *Versions // the account must be at none of these; nil: no such demand
}

// Versions names versions of an account. It never includes version 0, which an
// account has before it is opened.
type Versions struct {
	Any  bool // every version, whatever List holds
	List []uint64
}

func (v *Versions) include(version uint64) bool {
	return version > 0 && (v.Any || slices.Contains(v.List, version))
}

// Check returns a *VersionMismatch if the condition does not hold at the version.
func (c Condition) Check(version uint64) error {
	if c.Match != nil && !c.Match.include(version) || c.NoneMatch != nil && c.NoneMatch.include(version) {
		return &VersionMismatch{Actual: version}
	}
	return nil
}

// Outcome is what became of a command.
type Outcome struct {
	Account  *events.Account // after the command, if that did not fail; not to be changed, it is the cache's too
	Changed  bool            // whether any event was appended
	Rejected []FieldError    // with Update.Partial: the fields that were not stored
	// Replayed tells that the request was carried out before, and that all this is
	// what it came to then. Changed is false: this time nothing happened.
	Replayed bool
	At       time.Time // Once.At of the time when it was carried out
}

// Clock tells the time; nil means time.Now.
type Clock func() time.Time
