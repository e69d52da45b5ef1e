package commands

import (
	"net/url"
	"slices"
	"time"

	"konto/events"
)

const (
	// MaxSubject is the longest subject of an identity, in bytes. OpenID Connect allows 255.
	MaxSubject = 256
	// maxIssuer is the longest issuer of an identity, in bytes.
	maxIssuer = 1024
	// maxIdentities is how many identities can be linked to one account, because they are part
	// of its state.
	maxIdentities = 10
)

// LinkIdentity links an identity to the account, so that its tokens count as the account's. If
// the identity is linked to the account already, nothing changes. If it is linked to another
// account, the error is *Taken.
type LinkIdentity struct{ events.Identity }

func (l LinkIdentity) decide(state events.Account, _ time.Time) (decision, error) {
	var c checker
	c.identity(l.Identity)
	switch {
	case len(c.wrong) > 0:
		return decision{}, &Invalid{Fields: c.wrong}
	case !state.Exists():
		return decision{}, ErrNotFound
	case slices.Contains(state.Identities, l.Identity):
		return decision{}, nil
	case len(state.Identities) >= maxIdentities:
		return decision{}, invalid(fieldSubject, CodeNotAllowed, "Ten identities are linked to the account already; unlink one first.")
	}
	return decision{payloads: []events.Payload{events.IdentityLinked(l.Identity)}}, nil
}

// UnlinkIdentity ends the link of an identity to the account. If there is no such link, the error
// is *Invalid, because a subject with a typing error would stay linked.
type UnlinkIdentity struct{ events.Identity }

func (u UnlinkIdentity) decide(state events.Account, _ time.Time) (decision, error) {
	switch {
	case !state.Exists():
		return decision{}, ErrNotFound
	case !slices.Contains(state.Identities, u.Identity):
		return decision{}, invalid(fieldSubject, CodeInvalidValue, "This subject of this issuer is not linked to the account.")
	}
	return decision{payloads: []events.Payload{events.IdentityUnlinked(u.Identity)}}, nil
}

// identity checks an identity. It is compared with tokens byte by byte, so it is stored as given.
func (c *checker) identity(i events.Identity) {
	if u, err := url.Parse(i.Issuer); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(i.Issuer) > maxIssuer {
		c.reject("/issuer", &fault{CodeInvalidFormat, "The issuer must be an http or https URL of at most 1024 bytes."})
	}
	stored, wrong := text(i.Subject)
	if wrong == nil && (stored != i.Subject || len(i.Subject) > MaxSubject) {
		wrong = &fault{CodeInvalidFormat, "The subject can have 256 bytes, without white space around it."}
	}
	if wrong != nil {
		c.reject(fieldSubject, wrong)
	}
}
