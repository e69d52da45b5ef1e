package commands

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"konto/events"
)

// Open opens an account. If its stream exists, even that of an erased account, the error is
// *VersionMismatch.
type Open struct {
	Email         string
	PaywayID      string // 24 hex digits; that of NewPaywayID unless it is imported
	Administrator bool
	Profile       events.ProfileUpdated // values as the caller sent them
	PasswordHash  string                // argon2id in PHC string format, "" for none
	Facts         events.FactsRecorded  // what other systems know of it
	// FormatsDecided is as in Update.
	FormatsDecided bool
	If             Condition
}

// NewPaywayID makes an id in Payway's form, for an account that is not imported.
func NewPaywayID() string {
	var id [12]byte
	rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(id[:])
}

// WithDefaults sets what every new account has, through every contract and command, unless
// o sets it: it is private, Swedish and pays in SEK. Imports do not call it, because what an
// import lacks stays unset.
func (o Open) WithDefaults() Open {
	for _, field := range []struct {
		change *events.Change[string]
		value  string
	}{
		{&o.Profile.AccountType, events.TypePrivate},
		{&o.Profile.CountryCode, defaultCountry},
		{&o.Profile.LanguageCode, "sv"},
		{&o.Profile.CurrencyCode, "SEK"},
	} {
		if !field.change.Made {
			*field.change = events.Set(field.value)
		}
	}
	return o
}

// Check returns the *Invalid or *VersionMismatch that Do would return at that time for an
// account that does not exist yet, or nil. It is for callers that do something costly
// before Do, such as hashing a password.
func (o Open) Check(now time.Time) error {
	_, err := o.decide(events.Account{}, now)
	return err
}

// decide opens the account unless its stream exists.
func (o Open) decide(state events.Account, at time.Time) (decision, error) {
	c := checker{now: at}
	c.required("/email", &o.Email, emailAddress)
	c.required("/paywayId", &o.PaywayID, paywayIDForm)
	c.profile(&o.Profile, events.Profile{}, o.FormatsDecided)
	if _, err := readHash(o.PasswordHash); o.PasswordHash != "" && err != nil {
		c.reject("/password", &fault{CodeInvalidFormat, "The password must arrive as an argon2id hash (PHC string format) that is not too costly to verify."})
	}
	c.facts("/facts", &o.Facts)
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if state.Version > 0 {
		return decision{}, &VersionMismatch{Actual: state.Version}
	}
	if err := o.If.Check(state.Version); err != nil {
		return decision{}, err
	}
	d := decision{payloads: []events.Payload{events.AccountOpened{
		Email: o.Email, PaywayID: o.PaywayID, Administrator: o.Administrator,
		Profile: o.Profile.Reduced(events.Profile{}),
	}}}
	if o.PasswordHash != "" {
		d.payloads = append(d.payloads, events.PasswordChanged{Hash: o.PasswordHash})
	}
	if facts := unknownOf(o.Facts, events.Facts{}); facts != (events.FactsRecorded{}) {
		d.payloads = append(d.payloads, facts)
	}
	return d, nil
}

// RecordFacts records what other systems know of the account.
type RecordFacts struct{ Facts events.FactsRecorded }

// decide records the facts that the account does not have yet.
func (r RecordFacts) decide(state events.Account, _ time.Time) (decision, error) {
	f := unknownOf(r.Facts, state.Facts) // what is known already is not checked again
	var c checker
	c.facts("", &f)
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if !state.Exists() {
		return decision{}, ErrNotFound
	}
	if f = unknownOf(f, state.Facts); f == (events.FactsRecorded{}) {
		return decision{}, nil
	}
	return decision{payloads: []events.Payload{f}}, nil
}

// facts checks facts. below is the JSON pointer of the object that has them.
func (c *checker) facts(below string, f *events.FactsRecorded) {
	c.count(below+"/activeDomains", f.ActiveDomains)
	c.count(below+"/seNuDomains", f.SeNuDomains)
	c.field(below+"/pendingOrder", &f.PendingOrder, nil)
	c.field(below+"/bankidName", &f.BankIDName, nil)
}

// unknownOf is f without the facts that are known already.
func unknownOf(f events.FactsRecorded, known events.Facts) events.FactsRecorded {
	f.ActiveDomains = unlessKnown(f.ActiveDomains, known.ActiveDomains)
	f.SeNuDomains = unlessKnown(f.SeNuDomains, known.SeNuDomains)
	f.Verified = unlessKnown(f.Verified, known.Verified)
	if f.PendingOrder.To == known.PendingOrder {
		f.PendingOrder = events.Change[string]{}
	}
	if f.BankIDName.To == known.BankIDName {
		f.BankIDName = events.Change[string]{}
	}
	return f
}

// count checks a number of things.
func (c *checker) count(field string, n *int) {
	if n != nil && *n < 0 {
		c.reject(field, &fault{CodeInvalidValue, "The number cannot be negative."})
	}
}

// unlessKnown is nil for a fact that is known already.
func unlessKnown[T comparable](fact *T, known T) *T {
	if fact != nil && *fact == known {
		return nil
	}
	return fact
}

// Erase ends an account. Its claims are released, and the receipts of its requests are
// deleted. Erase does not destroy the key that encrypts the account's events: that happens
// when the followers have seen the erasure.
//
// If the account is erased already, nothing is appended and there is no error. If only its
// key was destroyed and the log has no erasure, as after an older log was restored, the
// erasure is appended; nobody knows the claims of such an account any more
// (eventstore.Store.Release). ErrNotFound: it was never opened.
//
// Repeating Erase is harmless, so it needs no idempotency key, and no receipt is kept.
type Erase struct{}

func (Erase) decide(state events.Account, _ time.Time) (decision, error) {
	switch {
	case state.Version == 0:
		return decision{}, ErrNotFound
	case state.Erased && !state.Shredded:
		return decision{}, nil
	}
	return decision{payloads: []events.Payload{events.AccountErased{}}}, nil
}
