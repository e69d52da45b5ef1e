package commands

import (
	"regexp"
	"strings"

	"konto/events"
)

var foreignIdentifier = regexp.MustCompile(`^[A-Z0-9][A-Z0-9 ./-]{0,31}$`)

// identifier checks HostUp's registration identifier and derives its type.
// home is the account's country, kind its type.
func (c *checker) identifier(change *events.Change[events.RegistrationIdentifier], home, kind string) {
	if change.To == (events.RegistrationIdentifier{}) {
		return
	}
	given, before := change.To, len(c.wrong)
	value, issuer := events.Set(given.Value), events.Set(given.CountryCode)
	c.requiredIfMade("/registrationIdentifier/value", &value, nil)
	c.field("/registrationIdentifier/countryCode", &issuer, country)
	if issuer.To == "" {
		issuer.To = home
	}
	if len(c.wrong) == before {
		stored, wrong := registrationIdentifier(value.To, issuer.To, kind)
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
func registrationIdentifier(value, issuer, kind string) (events.RegistrationIdentifier, *fault) {
	id := events.RegistrationIdentifier{CountryCode: issuer, Type: events.IdentifierPersonal}
	if issuer == "SE" {
		var wrong *fault
		id.Value, id.Type, wrong = swedishNumber(value)
		return id, wrong
	}
	if id.Value = strings.ToUpper(value); !foreignIdentifier.MatchString(id.Value) {
		return id, &fault{CodeInvalidFormat, "The identifier can have at most 32 letters, digits, spaces and . / - characters."}
	}
	if kind == events.TypeOrganisation {
		id.Type = events.IdentifierOrganisation
	}
	return id, nil
}
