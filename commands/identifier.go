package commands

import (
	"regexp"

	"konto/events"
)

var foreignIdentifier = regexp.MustCompile(`^[A-Z0-9][A-Z0-9 ./-]{0,31}$`)

// identifier checks HostUp's registration identifier and derives its type.
// present is the account's own, home the account's country and kind its type.
func (c *checker) identifier(change *events.Change[events.RegistrationIdentifier], present events.RegistrationIdentifier, home, kind string) {
	given, before := change.To, len(c.wrong)
	if given == (events.RegistrationIdentifier{}) {
		return
	}
	value, issuer := events.Set(given.Value), events.Set(given.CountryCode)
	if issuer.To == "" {
		issuer.To = home
	}
	if value.To == present.Value && issuer.To == present.CountryCode {
		*change = events.Change[events.RegistrationIdentifier]{} // its type is not derived anew either
		return
	}
	c.requiredIfMade("/registrationIdentifier/value", &value, nil)
	c.field("/registrationIdentifier/countryCode", &issuer, country)
	if len(c.wrong) == before {
		stored, wrong := c.registrationIdentifier(value.To, issuer.To, kind)
		if wrong == nil {
			change.To = stored
			return
		}
		c.reject("/registrationIdentifier/value", wrong)
	}
	*change = events.Change[events.RegistrationIdentifier]{}
}

// registrationIdentifier derives the type from a Swedish number itself; other
// countries' numbers do not tell, so there the account's type does.
func (c *checker) registrationIdentifier(value, issuer, kind string) (events.RegistrationIdentifier, *fault) {
	id := events.RegistrationIdentifier{CountryCode: issuer, Type: events.IdentifierPersonal}
	if issuer == "SE" {
		n, wrong := readSwedishNumber(value, c.now)
		id.Value, id.Type = n.value, n.kind
		return id, wrong
	}
	if id.Value = upper(plain(value)); !foreignIdentifier.MatchString(id.Value) {
		return id, &fault{CodeInvalidFormat, "The identifier can have at most 32 letters, digits, spaces and . / - characters."}
	}
	if kind == events.TypeOrganisation {
		id.Type = events.IdentifierOrganisation
	}
	return id, nil
}
