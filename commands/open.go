package commands

import (
	"regexp"
	"strings"

	"konto/events"
)

var paywayID = regexp.MustCompile(`^[0-9a-f]{24}$`)

// decideOpen opens an account unless its stream exists already: then the
// answer is *VersionMismatch, also when the account was erased since.
func decideOpen(state events.Account, o Open) (decision, error) {
	var c checker
	c.required("/email", &o.Email, emailAddress)
	c.required("/paywayId", &o.PaywayID, paywayIDForm)
	c.profile(&o.Profile, events.Profile{}, false)
	if o.PasswordHash != "" && !strings.HasPrefix(o.PasswordHash, passwordPrefix) {
		c.reject("/password", &fault{CodeInvalidFormat, "The password must arrive as an argon2id hash."})
	}
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if state.Version > 0 {
		return decision{}, &VersionMismatch{Actual: state.Version}
	}
	d := decision{payloads: []events.Payload{events.AccountOpened{
		Email: o.Email, PaywayID: o.PaywayID, Administrator: o.Administrator,
		Profile: o.Profile.Reduced(events.Profile{}),
	}}}
	if o.PasswordHash != "" {
		d.payloads = append(d.payloads, events.PasswordChanged{Hash: o.PasswordHash})
	}
	return d, nil
}

// paywayIDForm is the rule for Payway's account id: 24 hex digits.
func paywayIDForm(value string) (string, *fault) {
	value = strings.ToLower(value)
	if !paywayID.MatchString(value) {
		return "", &fault{CodeInvalidFormat, "The id must be 24 hexadecimal digits."}
	}
	return value, nil
}
