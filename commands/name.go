package commands

import (
	"strings"

	"konto/events"
)

// setName turns the generic contract's one name into the fields that every
// contract shares. A person's last word is the last name; a single word is a
// first name.
func setName(u *events.ProfileUpdated, name, accountType string) {
	if accountType == events.TypeOrganisation {
		u.CompanyName = events.Set(name)
		return
	}
	first, last := name, ""
	if at := strings.LastIndexByte(name, ' '); at >= 0 {
		first, last = strings.TrimSpace(name[:at]), name[at+1:]
	}
	u.FirstName, u.LastName = events.Set(first), events.Set(last)
}
