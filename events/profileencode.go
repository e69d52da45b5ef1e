package events

// encode gives the update's stored bytes.
func (u *ProfileUpdated) encode() ([]byte, error) {
	texts := u.texts(&Profile{})
	o := newObject(128)
	o.changes(texts[:addressTexts])
	if id := u.RegistrationIdentifier; id.Made && id.To == (RegistrationIdentifier{}) {
		o.null("registrationIdentifier")
	} else if id.Made {
		o.identifier(&id.To)
	}
	if u.Address != (AddressUpdated{}) {
		o.begin("address")
		o.changes(texts[addressTexts:])
		o.end()
	}
	return o.close()
}

func (o *object) changes(texts []textChange) {
	for _, f := range texts {
		if !f.change.Made {
			continue
		}
		if f.change.To == "" {
			o.null(f.name)
		} else {
			o.text(f.name, f.change.To)
		}
	}
}

// profile writes what is set of a profile, if anything is.
func (o *object) profile(p *Profile) {
	if *p == (Profile{}) {
		return
	}
	texts := new(ProfileUpdated).texts(p)
	o.begin("profile")
	o.fields(texts[:addressTexts])
	if p.RegistrationIdentifier != (RegistrationIdentifier{}) {
		o.identifier(&p.RegistrationIdentifier)
	}
	if p.Address != (Address{}) {
		o.begin("address")
		o.fields(texts[addressTexts:])
		o.end()
	}
	o.end()
}

func (o *object) fields(texts []textChange) {
	for _, f := range texts {
		o.set(f.name, *f.field)
	}
}

func (o *object) identifier(id *RegistrationIdentifier) {
	o.begin("registrationIdentifier")
	o.text("value", id.Value)
	o.text("countryCode", id.CountryCode)
	o.text("type", id.Type)
	o.end()
}
