package commands

import (
	"strings"

	"konto/events"
)

// Name is the generic contract's one name of an account: an organisation's is
// its company name, a person's is the first and the last name. The other kind
// of name stands in when its own is missing.
func Name(p *events.Profile) string {
	if p.AccountType == events.TypeOrganisation && p.CompanyName != "" {
		return p.CompanyName
	}
	if name := PersonName(p); name != "" {
		return name
	}
	return p.CompanyName
}

// PersonName is the first and the last name, as far as they are set.
func PersonName(p *events.Profile) string {
	if p.FirstName == "" || p.LastName == "" {
		return p.FirstName + p.LastName
	}
	return p.FirstName + " " + p.LastName
}

// setName turns that name into the fields that every contract shares. A
// person's last word is the last name; a single word is a first name.
func setName(u *events.ProfileUpdated, name, accountType string) {
	if accountType == events.TypeOrganisation {
		u.CompanyName = events.Set(name)
		return
	}
	first, last := name, ""
	if at := strings.LastIndexByte(name, ' '); at >= 0 && !IsBlank(name[:at]) && !IsBlank(name[at:]) {
		first, last = strings.TrimSpace(name[:at]), name[at+1:]
	}
	u.FirstName, u.LastName = events.Set(first), events.Set(last)
}
