package events

import (
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Profile is what the contracts read and update of an account, except its email address. "" means
// not set. Its members are those of profileOf.
type Profile profileOf[string, RegistrationIdentifier, Address]

// ProfileUpdated has the fields that changed. An explicit null clears a field. Its members are
// those of profileOf.
type ProfileUpdated profileOf[Change[string], Change[RegistrationIdentifier], AddressUpdated]

// Address has the members of both HostUp's and Payway's address. Those that both have (street,
// postal code, city) are one field. Its members are those of addressOf.
type Address addressOf[string]

// AddressUpdated has the members of the address that changed. Its members are those of addressOf.
type AddressUpdated addressOf[Change[string]]

func (ProfileUpdated) storedName() string { return TypeProfileUpdated }

// profileOf lists the members of a profile, of which a text is a T, the registration identifier
// an I and the address an A. It is a generic type so that a Profile and its changes have the same
// members. The tag jsonschema describes a member to consumers. To add a text, add it to a struct and
// to texts, and count it; package commands checks it as text, and by a rule of its own if textRule has one.
type profileOf[T, I, A any] struct {
	FirstName                 T `json:"firstName,omitzero" jsonschema:"A person's first name."`
	LastName                  T `json:"lastName,omitzero" jsonschema:"A person's last name."`
	CompanyName               T `json:"companyName,omitzero" jsonschema:"An organisation's name."`
	Alias                     T `json:"alias,omitzero" jsonschema:"The name by which the user wants to be called."`
	AccountType               T `json:"accountType,omitzero" jsonschema:"Whose account it is."`
	AccountOrigin             T `json:"accountOrigin,omitzero" jsonschema:"Where the account came from."`
	BirthDate                 T `json:"birthDate,omitzero" jsonschema:"YYYY-MM-DD."`
	PhoneNumber               T `json:"phoneNumber,omitzero" jsonschema:"E.164, as far as it could be normalised."`
	CountryCode               T `json:"countryCode,omitzero" jsonschema:"The account's country. ISO 3166-1 alpha-2."`
	LanguageCode              T `json:"languageCode,omitzero" jsonschema:"The account's language. BCP 47."`
	CurrencyCode              T `json:"currencyCode,omitzero" jsonschema:"The account's currency. ISO 4217."`
	TimeZone                  T `json:"timeZone,omitzero" jsonschema:"IANA name, such as Europe/Stockholm."`
	VATNumber                 T `json:"vatNumber,omitzero" jsonschema:"VAT number, with its country's letters in front."`
	InvoiceReference          T `json:"invoiceReference,omitzero" jsonschema:"The reference on invoices."`
	CustomerNumber            T `json:"customerNumber,omitzero" jsonschema:"The subscription system's number. Unique."`
	SocialSecurityNumber      T `json:"socialSecurityNumber,omitzero" jsonschema:"Payway's number of a person: 850507-3412 or twelve digits. Unique."`
	CompanyRegistrationNumber T `json:"companyRegistrationNumber,omitzero" jsonschema:"Payway's number of a company."`
	RegistrationIdentifier    I `json:"registrationIdentifier,omitzero" jsonschema:"HostUp's organisation number or personal identifier."`
	Address                   A `json:"address,omitzero" jsonschema:"The members of the address that changed."`
}

// The two account types.
const (
	TypePrivate      = "private"
	TypeOrganisation = "organisation"
)

// RegistrationIdentifier is HostUp's organisation number or personal identifier.
type RegistrationIdentifier struct {
	Value       string `json:"value" jsonschema:"In its canonical form. In Sweden 850507-3412, or twelve digits for people born before 1927 or after 2026."`
	CountryCode string `json:"countryCode" jsonschema:"The country that issued it. ISO 3166-1 alpha-2."`
	Type        string `json:"type" jsonschema:"The kind of identifier."`
}

// The two types of registration identifier.
const (
	IdentifierPersonal     = "personal_identifier"
	IdentifierOrganisation = "organisation_number"
)

// addressOf lists the members of an address, each of which is a T.
type addressOf[T any] struct {
	FirstName              T `json:"firstName,omitzero" jsonschema:"First name of the person who lives there."`
	LastName               T `json:"lastName,omitzero" jsonschema:"Last name of the person who lives there."`
	Street                 T `json:"street,omitzero" jsonschema:"Street."`
	StreetNumber           T `json:"streetNumber,omitzero" jsonschema:"Number in the street."`
	Building               T `json:"building,omitzero" jsonschema:"Building."`
	Staircase              T `json:"staircase,omitzero" jsonschema:"Staircase."`
	Floor                  T `json:"floor,omitzero" jsonschema:"Floor."`
	ApartmentNumber        T `json:"apartmentNumber,omitzero" jsonschema:"Apartment number."`
	CareOf                 T `json:"careOf,omitzero" jsonschema:"Care of."`
	Dropbox                T `json:"dropbox,omitzero" jsonschema:"Post office box."`
	PostalCode             T `json:"postalCode,omitzero" jsonschema:"Postal code."`
	City                   T `json:"city,omitzero" jsonschema:"City."`
	State                  T `json:"state,omitzero" jsonschema:"State or province."`
	CountryCode            T `json:"countryCode,omitzero" jsonschema:"The address's country. ISO 3166-1 alpha-2."`
	CitizenshipCountryCode T `json:"citizenshipCountryCode,omitzero" jsonschema:"The country that the person is a citizen of. ISO 3166-1 alpha-2."`
	MobileNumber           T `json:"mobileNumber,omitzero" jsonschema:"Mobile number, free text."`
	PhoneNumber            T `json:"phoneNumber,omitzero" jsonschema:"Phone number, free text."`
	CompanyName            T `json:"companyName,omitzero" jsonschema:"Company at the address."`
	CompanyReference       T `json:"companyReference,omitzero" jsonschema:"Contact in the company."`
	CompanyDepartment      T `json:"companyDepartment,omitzero" jsonschema:"Department of the company."`
	CompanyCRN             T `json:"companyCrn,omitzero" jsonschema:"The company's registration number."`
	CompanyVATNumber       T `json:"companyVatNumber,omitzero" jsonschema:"The company's VAT number."`
}

// IsZero reports whether no field changes.
func (u ProfileUpdated) IsZero() bool { return u == ProfileUpdated{} }

// Change returns the change of the text at a JSON pointer such as /address/street, or nil if there
// is no such text.
func (u *ProfileUpdated) Change(pointer string) *Change[string] {
	if i := slices.Index(TextPointers[:], pointer); i >= 0 {
		return u.Texts()[i]
	}
	return nil
}

// Reduced returns u without the changes that would leave p as it is.
func (u ProfileUpdated) Reduced(p Profile) ProfileUpdated {
	fields := p.texts()
	for i, change := range u.Texts() {
		change.reduce(*fields[i])
	}
	u.RegistrationIdentifier.reduce(p.RegistrationIdentifier)
	return u
}

// apply makes the changes.
func (u ProfileUpdated) apply(p *Profile) {
	fields := p.texts()
	for i, change := range u.Texts() {
		change.apply(fields[i])
	}
	u.RegistrationIdentifier.apply(&p.RegistrationIdentifier)
}

// encode returns the bytes that json.Marshal would return, because the library looks at each of the
// 41 members by reflection. With the library an update takes 4 us longer (BenchmarkUpdate of http:
// 15 and 17 us became 19 and 22, HostUp and Payway).
func (u *ProfileUpdated) encode() (data []byte, err error) {
	if u.RegistrationIdentifier.Made { // rare
		return json.Marshal(u)
	}
	data = append(make([]byte, 0, 128), '{')
	inAddress := false
	for i, change := range u.Texts() {
		if !change.Made {
			continue
		}
		name, below := strings.CutPrefix(TextPointers[i], "/address")
		if below && !inAddress {
			inAddress = true
			data = append(appendName(data, "address"), '{')
		}
		data = appendName(data, name[1:])
		if change.To == "" {
			data = append(data, "null"...)
		} else if data, err = jsontext.AppendQuote(data, change.To); err != nil {
			return nil, err
		}
	}
	if inAddress {
		data = append(data, '}')
	}
	return append(data, '}'), nil
}

// appendName appends a member's name to an object. The names need no escapes.
func appendName(data []byte, name string) []byte {
	if data[len(data)-1] != '{' {
		data = append(data, ',')
	}
	return append(append(append(data, '"'), name...), '"', ':')
}

// textCount is how many texts a profile has, with its address.
const textCount = 39

// Texts returns pointers to the changes of all texts, in the order of TextPointers. It is not
// inlined, because the compiler of another package does not know that texts keeps no pointer, and
// would move every update to the heap (1 KB).
//
//go:noinline
func (u *ProfileUpdated) Texts() [textCount]*Change[string] {
	return texts((*profileOf[Change[string], Change[RegistrationIdentifier], AddressUpdated])(u), (*addressOf[Change[string]])(&u.Address))
}

func (p *Profile) texts() [textCount]*string {
	return texts((*profileOf[string, RegistrationIdentifier, Address])(p), (*addressOf[string])(&p.Address))
}

// texts returns pointers to the texts of a profile and its address, in the order of the structs. A
// test compares it with the structs, so that no member is missing. It returns an array instead of
// calling a function for each text, so that neither struct is copied to the heap: 3 KB an update.
func texts[T, I, A any](p *profileOf[T, I, A], a *addressOf[T]) [textCount]*T {
	return [...]*T{
		&p.FirstName, &p.LastName, &p.CompanyName, &p.Alias, &p.AccountType, &p.AccountOrigin, &p.BirthDate, &p.PhoneNumber,
		&p.CountryCode, &p.LanguageCode, &p.CurrencyCode, &p.TimeZone, &p.VATNumber, &p.InvoiceReference, &p.CustomerNumber,
		&p.SocialSecurityNumber, &p.CompanyRegistrationNumber,
		&a.FirstName, &a.LastName, &a.Street, &a.StreetNumber, &a.Building, &a.Staircase, &a.Floor, &a.ApartmentNumber, &a.CareOf,
		&a.Dropbox, &a.PostalCode, &a.City, &a.State, &a.CountryCode, &a.CitizenshipCountryCode, &a.MobileNumber, &a.PhoneNumber,
		&a.CompanyName, &a.CompanyReference, &a.CompanyDepartment, &a.CompanyCRN, &a.CompanyVATNumber,
	}
}

// TextPointers are the JSON pointers of the texts, such as /address/street.
var TextPointers = func() (pointers [textCount]string) {
	all := slices.Concat(textPointers(reflect.TypeFor[Profile](), "/"), textPointers(reflect.TypeFor[Address](), "/address/"))
	copy(pointers[:], all)
	return pointers
}()

// textPointers lists the pointers of a struct's members that are texts.
func textPointers(t reflect.Type, below string) (pointers []string) {
	for _, member := range reflect.VisibleFields(t) {
		if member.Type.Kind() == reflect.String {
			name, _, _ := strings.Cut(member.Tag.Get("json"), ",")
			pointers = append(pointers, below+name)
		}
	}
	return pointers
}

// Change is what an update does to one field: nothing (the zero Change), clear it, or set it. In
// konto the zero value of T means "not set", so a Change to the zero value clears. In JSON an
// absent member is no change and an explicit null clears. Use it with omitzero.
type Change[T comparable] struct {
	Made bool // whether there is a change
	To   T    // the field's new value; the zero value clears it
}

// Set changes a field to value; the zero value clears it.
func Set[T comparable](value T) Change[T] { return Change[T]{Made: true, To: value} }

// Clear removes a field's value.
func Clear[T comparable]() Change[T] { return Change[T]{Made: true} }

// IsZero reports whether nothing changes. Then encoders leave the member out.
func (c Change[T]) IsZero() bool { return !c.Made }

// apply makes the change.
func (c Change[T]) apply(field *T) {
	if c.Made {
		*field = c.To
	}
}

// reduce removes a change that would leave the field as it is.
func (c *Change[T]) reduce(field T) {
	if c.Made && c.To == field {
		*c = Change[T]{}
	}
}

// MarshalJSONTo writes null for a cleared field, else its value.
func (c Change[T]) MarshalJSONTo(enc *jsontext.Encoder) error {
	if c.To == *new(T) {
		return enc.WriteToken(jsontext.Null)
	}
	return json.MarshalEncode(enc, c.To)
}

// UnmarshalJSONFrom decodes a member that is present: null clears.
func (c *Change[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*c = Change[T]{Made: true}
	return json.UnmarshalDecode(dec, &c.To)
}
