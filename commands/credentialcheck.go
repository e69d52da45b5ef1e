package commands

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"konto/events"
)

// The scopes that each kind of credential may have. Credentials for NATS have none, because
// they can do one thing only.
var (
	accountScopes = []string{"read:account", "write:account", "read:billing", "read:support"} // HostUp's
	clientScopes  = []string{"/external/account/r", "/external/account/w"}                    // Payway's
)

// authTypes are HostUp's kinds of dashboard session.
var authTypes = []string{"session", "admin", "bankid-selection", "billing-sso"}

// natsName allows few characters, because the name becomes part of NATS subjects, accounts and
// consumer names. It has no capitals, so that no two names look alike.
var natsName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// ownPrefix begins the names of konto's own consumers on NATS.
const ownPrefix = "konto-"

// maxName is the longest name of a client, an administrator or a grant, in characters.
const maxName = 64

// checkKey returns what is wrong with a key.
func checkKey(k events.KeyIssued) []FieldError {
	var c checker
	holders := 0
	for _, is := range []bool{!k.Account.IsZero(), k.Client != "", k.Consumer != "", k.Inbound != ""} {
		if is {
			holders++
		}
	}
	switch {
	case holders != 1:
		c.reject("", &fault{CodeMustBeSet, "A key belongs to exactly one of an account, a client, a consumer and a system that sends facts."})
	case !k.Account.IsZero():
		c.scopes(k.Scopes, accountScopes)
	case k.Client != "":
		c.label("/client", k.Client)
		c.scopes(k.Scopes, clientScopes)
	case k.Consumer != "":
		c.natsHolder("/consumer", k.Consumer, k.Scopes)
	default:
		c.natsHolder("/inbound", k.Inbound, k.Scopes)
	}
	return c.wrong
}

// natsHolder checks the name and the scopes of a key for NATS.
func (c *checker) natsHolder(field, name string, scopes []string) {
	if !natsName.MatchString(name) || strings.HasPrefix(name, ownPrefix) {
		c.reject(field, &fault{CodeInvalidFormat, "The name can have 64 of a-z, 0-9, _ and -, begins with a letter or digit, and not with konto-."})
	}
	if len(scopes) > 0 {
		c.reject("/scopes", &fault{CodeNotAllowed, "A key for NATS has no scopes."})
	}
}

// withDefaults sets the defaults that OpenSession documents.
func withDefaults(s events.SessionOpened) events.SessionOpened {
	if s.AuthType == "" {
		s.AuthType = "session"
		if s.Admin != "" {
			s.AuthType = "admin"
		}
	}
	if s.Scopes == nil {
		s.Scopes = slices.Clone(accountScopes)
	}
	return s
}

// checkSession returns what is wrong with a session that is opened now.
func checkSession(s events.SessionOpened, now time.Time) []FieldError {
	var c checker
	if s.Account.IsZero() && s.Admin == "" {
		c.reject("/account", &fault{CodeMustBeSet, "A session belongs to an account, an administrator or both."})
	}
	if !slices.Contains(authTypes, s.AuthType) {
		c.reject("/authType", &fault{CodeInvalidValue, "The type is one of session, admin, bankid-selection and billing-sso."})
	}
	c.scopes(s.Scopes, accountScopes)
	c.label("/admin", s.Admin)
	if s.Admin == "" && len(s.Roles) > 0 {
		c.reject("/roles", &fault{CodeNotAllowed, "Only an administrator's session has roles."})
	}
	for _, role := range s.Roles {
		c.label("/roles", role)
	}
	if s.Account.IsZero() && !s.Parent.IsZero() {
		c.reject("/parent", &fault{CodeNotAllowed, "Only an account's session can be delegated."})
	}
	if s.Parent.IsZero() && s.Label != "" {
		c.reject("/label", &fault{CodeNotAllowed, "Only a delegated session has a label."})
	}
	c.label("/label", s.Label)
	if !s.ExpiresAt.IsZero() && !s.ExpiresAt.After(now) {
		c.reject("/expiresAt", &fault{CodeInvalidValue, "The session would have expired already."})
	}
	return c.wrong
}

// scopes checks that each scope is allowed.
func (c *checker) scopes(given, allowed []string) {
	for _, scope := range given {
		if !slices.Contains(allowed, scope) {
			c.reject("/scopes", &fault{CodeInvalidValue, "The scope is not one that this kind of credential can have."})
		}
	}
}

// label checks a name that people read. It is stored as given, so it is refused if text would
// change it.
func (c *checker) label(field, name string) {
	if name == "" {
		return
	}
	stored, wrong := text(name)
	if wrong == nil && (stored != name || len([]rune(name)) > maxName) {
		wrong = &fault{CodeInvalidFormat, "The name can have 64 characters, without white space around it."}
	}
	if wrong != nil {
		c.reject(field, wrong)
	}
}
