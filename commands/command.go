package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// Command is a change that a caller wants of an account: Open, *Update, RecordFacts,
// RequestEmailChange, ConfirmEmailChange, CancelEmailChange, ChangePassword, LinkIdentity,
// UnlinkIdentity or Erase.
type Command interface {
	// decide applies the rules at a point in time. It is pure: for the same state,
	// command and time it returns the same decision, so a command that lost a race is
	// decided again.
	//
	// The zero state is an account that does not exist. decide accepts it, because a
	// wrong request is reported even if the account is unknown (Payway answers 400
	// before 404).
	decide(state events.Account, at time.Time) (decision, error)
}

// preparer is a command that needs what decide must not do: make ids, look up claims, or
// verify passwords, which takes tens of milliseconds and many megabytes.
type preparer interface {
	Command

	// prepare runs before the command is queued, because others wait in the queue. The
	// account may change before decide runs, so decide checks what prepare found against
	// the state. prepare refuses nothing, so that a repeated request finds its receipt
	// first.
	prepare(ctx context.Context, h *Accounts, by caller) (Command, error)
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

// Bytes returns the caller as a key of Counts.
func (c caller) Bytes() []byte { return append(c.account.Bytes(), c.credential...) }

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

var (
	// ErrNotFound means that the account, the credential or the third party never
	// existed, or was erased or removed.
	ErrNotFound = errors.New("not found")

	// ErrAdministratorEmail means that an administrator's email address cannot be changed
	// through this contract (Payway: 403). Nothing was stored.
	ErrAdministratorEmail = errors.New("an administrator's email address cannot be changed")

	// ErrTooMany is matched by *TooMany.
	ErrTooMany = errors.New("tried too often")

	// ErrUnavailable means that a limit on tries could not be checked, because Config.Counts
	// failed. Nothing was stored. The caller may try again.
	ErrUnavailable = errors.New("tries cannot be counted")

	// ErrVersion is matched by *VersionMismatch.
	ErrVersion = errors.New("account is at another version")

	// ErrInvalid is matched by *Invalid.
	ErrInvalid = errors.New("invalid command")

	// ErrBusy means that others changed the account (or what else the command is about)
	// each time the command was decided. Nothing was stored. The caller may try again.
	ErrBusy = errors.New("being changed by others")

	// ErrPendingOrder means that the email address cannot be changed while an order is
	// pending. Nothing was stored.
	ErrPendingOrder = errors.New("an order is pending")

	// ErrNoEmailChange means that no email change waits for a code: none was requested, or
	// it was cancelled or confirmed, or it expired. Nothing was stored.
	ErrNoEmailChange = errors.New("no change of address is pending")

	// ErrEmailNeedsProof means that this caller cannot change the account's email address
	// without the current password. Nothing was stored.
	ErrEmailNeedsProof = errors.New("a new address needs the current password")

	// ErrReused means that another request had the same idempotency key (Once) within the
	// last day. Nothing was stored. The caller uses another key.
	ErrReused = errors.New("request has the name of another")

	// ErrTaken is matched by *Taken.
	ErrTaken = errors.New("already in use by another account")
)

// TooMany means that something was tried too often: codes, email changes or current
// passwords. Nothing was stored.
type TooMany struct {
	Limit      Limit // the limit that is used up
	RetryAfter time.Duration
}

// Error says when to try again. It does not name the limit.
func (e *TooMany) Error() string { return fmt.Sprintf("tried too often, again in %s", e.RetryAfter) }

// Is matches ErrTooMany.
func (e *TooMany) Is(target error) bool { return target == ErrTooMany }

// VersionMismatch means that the account's version does not meet the command's Condition.
// Nothing was stored. The caller reads the account again.
type VersionMismatch struct{ Actual uint64 }

// Error names the version that the account has.
func (e *VersionMismatch) Error() string { return fmt.Sprintf("account is at version %d", e.Actual) }

// Is matches ErrVersion.
func (e *VersionMismatch) Is(target error) bool { return target == ErrVersion }

// Taken means that another account has a value that must be unique. Nothing was stored.
type Taken struct{ Field string } // JSON pointer of the field, such as /email

// Error names the field and not its value, which may be personal data.
func (e *Taken) Error() string { return e.Field + " is already in use by another account" }

// Is matches ErrTaken.
func (e *Taken) Is(target error) bool { return target == ErrTaken }

// Shared means that several accounts have the email address that was looked up, each in
// another spelling. It lists them, because the address does not say which one is meant.
type Shared struct{ Accounts []ulid.ULID }

// Error lists the ids of the accounts, without the address.
func (e *Shared) Error() string {
	return fmt.Sprintf("accounts %v have this address, each in another spelling: name one by its id", e.Accounts)
}

// Is matches ErrNotFound: no single account was found.
func (e *Shared) Is(target error) bool { return target == ErrNotFound }

// Invalid lists everything that is wrong with a command, in the order of the caller's fields.
// Nothing was stored, except by ConfirmEmailChange.
type Invalid struct{ Fields []FieldError }

// Error describes the first wrong field and counts all. It contains no value.
func (e *Invalid) Error() string {
	if len(e.Fields) == 0 {
		return ErrInvalid.Error()
	}
	return fmt.Sprintf("%s: %s (%d wrong in all)", e.Fields[0].Field, e.Fields[0].Detail, len(e.Fields))
}

// Is matches ErrInvalid.
func (e *Invalid) Is(target error) bool { return target == ErrInvalid }

// FieldError says what is wrong with one field.
type FieldError struct {
	Field  string `json:"field"`  // JSON pointer into the command's values, such as /address/street
	Code   string `json:"code"`   // one of the Code constants
	Detail string `json:"detail"` // a sentence for the caller's developer; never contains the value
}

// The codes of field errors.
const (
	CodeUnknownField    = "unknown_field"
	CodeFieldNotAllowed = "field_not_allowed"
	CodeDuplicateField  = "duplicate_field"
	CodeInvalidType     = "invalid_type"
	CodeNotNullable     = "not_nullable"
	CodeEmpty           = "empty"
	CodeTooLong         = "too_long"
	CodeInvalidFormat   = "invalid_format"
	CodeInvalidValue    = "invalid_value"
	CodeMustBeSet       = "must_be_set"
	CodeTaken           = "taken"
	CodeNotAllowed      = "not_allowed" // an administrator's email
	CodeIncorrect       = "incorrect"   // a code or a current password
	CodeWeakPassword    = "weak_password"
)
