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

// Condition is a condition on the account's version (RFC 9110, sections 13.1.1 and 13.1.2). The
// zero Condition is always met. If a command's condition is not met, the error is
// *VersionMismatch, even if the command would change nothing.
type Condition struct {
	Match     *Versions // the account must be at one of these; nil for any
	NoneMatch *Versions // the account must be at none of these; nil for none
}

// Versions is a set of versions of an account. It never includes version 0, which an account
// has before it is opened.
type Versions struct {
	Any  bool // all versions; List is ignored
	List []uint64
}

func (v *Versions) include(version uint64) bool {
	return version > 0 && (v.Any || slices.Contains(v.List, version))
}

// Check returns a *VersionMismatch if a version does not meet the condition.
func (c Condition) Check(version uint64) error {
	if c.Match != nil && !c.Match.include(version) || c.NoneMatch != nil && c.NoneMatch.include(version) {
		return &VersionMismatch{Actual: version}
	}
	return nil
}

// Outcome is the result of a command.
type Outcome struct {
	Account  *events.Account // after the command; read only, because the cache shares it
	Changed  bool            // whether any event was appended
	Rejected []FieldError    // with Update.Partial: the fields that were not stored
	// Replayed means that the request was carried out before, and that this is the outcome
	// of that time. Changed is false.
	Replayed bool
	At       time.Time // Once.At of the request that was carried out
}

// Clock returns the time. nil means time.Now.
type Clock func() time.Time
