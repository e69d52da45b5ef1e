package events

import "time"

// Shredded is the payload of an event whose stream's key was destroyed. It has no stored form: the
// log has the ciphertext, which nobody can read any more. That is enough for a fold: the event's
// owner was erased, whatever the event was, and the fold goes on to the stream's end.
type Shredded struct{}

func (Shredded) storedName() string { return "" }

// Remains is what is left of an account whose key was destroyed: what the log stores of its events
// without encryption.
func (a *Account) Remains() Account {
	return Account{ID: a.ID, Erased: true, Shredded: true, Opened: a.Opened, Updated: a.Updated, Version: a.Version, Position: a.Position}
}

// shred applies an event that nobody can read.
func (a *Account) shred(e Event) {
	_, a.ID, _ = e.Stream.Split()
	*a = a.Remains()
	a.Opened = firstOf(a.Opened, e.Time)
}

// Remains is what is left of a credential whose key was destroyed. It is not usable, and it has no
// kind.
func (c *Credential) Remains() Credential {
	return Credential{ID: c.ID, Issued: c.Issued, Revoked: firstOf(c.Revoked, c.Issued), Version: c.Version}
}

func (c *Credential) shred(e Event) {
	_, c.ID, _ = e.Stream.Split()
	c.Issued = firstOf(c.Issued, e.Time)
	*c = c.Remains()
}

// Remains is what is left of a third party whose key was destroyed.
func (t *ThirdParty) Remains() ThirdParty {
	return ThirdParty{ID: t.ID, State: ThirdPartyGone, Version: t.Version, Position: t.Position}
}

func (t *ThirdParty) shred(e Event) {
	_, t.ID, _ = e.Stream.Split()
	*t = t.Remains()
}

// firstOf is the time that is known already, or else at: the first event of a stream began it,
// whether it can be read or not.
func firstOf(known, at time.Time) time.Time {
	if known.IsZero() {
		return at
	}
	return known
}
