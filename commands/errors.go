package commands

import (
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

var (
	// ErrNotFound tells that the account, the credential or the third party was
	// never there, or was erased or removed.
	ErrNotFound = errors.New("not found")

	// ErrAdministratorEmail tells that an administrator's email address cannot
	// be changed through this contract (Payway: 403).
	ErrAdministratorEmail = errors.New("an administrator's email address cannot be changed")

	// ErrTooMany is matched by *TooMany.
	ErrTooMany = errors.New("tried too often")

	// ErrVersion is matched by *VersionMismatch.
	ErrVersion = errors.New("account is at another version")

	// ErrInvalid is matched by *Invalid.
	ErrInvalid = errors.New("invalid command")

	// ErrBusy tells that others kept changing the account, or whatever the command
	// is about, while it was decided, again and again. Nothing was stored; the
	// caller may try again.
	ErrBusy = errors.New("being changed by others")

	// ErrPendingOrder tells that the address cannot be changed while an order is pending.
	ErrPendingOrder = errors.New("an order is pending")

	// ErrNoEmailChange tells that no change of address waits for a code: none
	// was asked for, or it was cancelled, confirmed or has expired.
	ErrNoEmailChange = errors.New("no change of address is pending")

	// ErrEmailNeedsProof tells that the caller cannot change the account's address
	// in this way, without the current password. Nothing was stored.
	ErrEmailNeedsProof = errors.New("a new address needs the current password")

	// ErrReused tells that the request's name was another request's (Once), within
	// the last day. Nothing was stored; the caller takes another name.
	ErrReused = errors.New("request has the name of another")

	// ErrTaken is matched by *Taken.
	ErrTaken = errors.New("already in use by another account")
)

// TooMany tells that something was tried too often: codes, email changes, the
// current password. Nothing was stored.
type TooMany struct {
	Limit      Limit // that is used up
	RetryAfter time.Duration
}

func (e *TooMany) Error() string { return fmt.Sprintf("tried too often, again in %s", e.RetryAfter) }

// Is matches ErrTooMany.
func (e *TooMany) Is(target error) bool { return target == ErrTooMany }

// VersionMismatch tells that the account's version does not meet the command's
// Condition. Nothing was stored; the caller reads again and decides.
type VersionMismatch struct{ Actual uint64 }

func (e *VersionMismatch) Error() string { return fmt.Sprintf("account is at version %d", e.Actual) }

// Is matches ErrVersion.
func (e *VersionMismatch) Is(target error) bool { return target == ErrVersion }

// Taken tells that another account holds a value that must be unique. Nothing was stored.
type Taken struct{ Field string } // JSON pointer of the field, such as /email

func (e *Taken) Error() string { return e.Field + " is already in use by another account" }

// Is matches ErrTaken.
func (e *Taken) Is(target error) bool { return target == ErrTaken }

// Shared tells that several accounts have the address that was looked for, each in
// another spelling than that. It names them, and nothing else tells which is meant.
type Shared struct{ Accounts []ulid.ULID }

func (e *Shared) Error() string {
	return fmt.Sprintf("accounts %v have this address, each in another spelling: name one by its id", e.Accounts)
}

// Is matches ErrNotFound: no single account was found.
func (e *Shared) Is(target error) bool { return target == ErrNotFound }

// Invalid lists everything that is wrong with a command, in the order of the
// caller's fields. Nothing was stored.
type Invalid struct{ Fields []FieldError }

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
	Field  string `json:"field"`  // JSON pointer into what the command is about, such as /address/street
	Code   string `json:"code"`   // one of the Code constants
	Detail string `json:"detail"` // a sentence for the developer who called; never echoes the value
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
