package commands

import (
	"slices"
	"time"

	"konto/events"
)

// Command is something that a caller wants of an account: Open, *Update,
// RecordFacts, RequestEmailChange, ConfirmEmailChange, CancelEmailChange,
// ChangePassword or Erase. Times and ids that it needs arrive inside it.
type Command interface{ command() }

// Open makes an account. If its stream exists already, the answer is *VersionMismatch.
type Open struct {
	Email         string
	PaywayID      string // 24 hex digits; NewPaywayID's when not imported
	Administrator bool
	Profile       events.ProfileUpdated // values as the caller sent them
	PasswordHash  string                // argon2id in PHC string format, "" for none
	Facts         events.FactsRecorded  // what other systems know of it already
	// FormatsDecided is Update's.
	FormatsDecided bool
	If             Condition

	now time.Time
}

// Update changes profile fields and the email address, all in one append. An
// address in it, the present one too, ends a pending change of address, unless
// it asks for the address that is pending with VerifyEmail.
// Values are as the caller sent them: decide checks and normalises them, because
// some rules need the account (the country that a phone number is read in).
type Update struct {
	Profile events.ProfileUpdated
	Email   events.Change[string]
	// Name is the generic contract's one name: an organisation's company name,
	// a person's first and last name, parted at the last space.
	Name events.Change[string]
	// Rejected is what the contract already found wrong; decide adds to it, so
	// that the caller learns of every wrong field at once. What it says of a value
	// that is in the update does not count if the account has that value already.
	Rejected []FieldError
	// AddressNeeds names the members of the address, by pointer, without which
	// none of it changes: when one of them is wrong, a partial update leaves all out.
	AddressNeeds []string
	// Partial stores the accepted fields even if others are rejected
	// (Payway's atomic=false).
	Partial bool
	// FormatsDecided: the contract's own formats have decided what is valid
	// (Payway). Swedish numbers are then held against the calendar alone, and a
	// phone number that cannot be normalised is kept as given.
	FormatsDecided bool
	// AdministratorEmail allows changing an administrator's address.
	AdministratorEmail bool
	// VerifyEmail turns a new address into a request, as RequestEmailChange
	// does: the address stays until the code mailed to the new one is confirmed.
	VerifyEmail bool
	// EmailNeedsProof refuses a new address with ErrEmailNeedsProof: the caller
	// would have to give the current password, for which there is RequestEmailChange.
	EmailNeedsProof bool
	If              Condition

	now    time.Time
	ticket ticket // with VerifyEmail
}

// RecordFacts takes in what other systems know.
type RecordFacts struct{ Facts events.FactsRecorded }

func (Open) command()        {}
func (*Update) command()     {}
func (RecordFacts) command() {}

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
