package http

import (
	"time"

	"konto/commands"
	"konto/events"
)

// genericBody holds the members of PATCH /v1/account. null clears a setting.
var genericBody = []member{
	{name: "name", to: func(b *body) *change { return &b.update.Name }},
	{name: "email", to: func(b *body) *change { return &b.update.Email }},
	{name: "settings", members: []member{
		setting("currency", "/currencyCode", func(b *body) *change { return &b.update.Profile.CurrencyCode }),
		setting("timezone", "/timeZone", func(b *body) *change { return &b.update.Profile.TimeZone }),
		setting("language", "/languageCode", func(b *body) *change { return &b.update.Profile.LanguageCode }),
	}},
}

func setting(name, field string, to func(*body) *change) member {
	m := nullable(name, to)
	m.field = field
	return m
}

// genericAccount is the account in the order of the contract's example.
type genericAccount struct {
	ID        string          `json:"id"`
	Email     string          `json:"email"`
	Name      orNull          `json:"name"`
	Type      string          `json:"type"`   // individual or business
	Status    string          `json:"status"` // active: an erased account is not shown
	CreatedAt seconds         `json:"created_at"`
	UpdatedAt seconds         `json:"updated_at"`
	Settings  genericSettings `json:"settings"`
}

type genericSettings struct {
	Currency orNull `json:"currency"`
	Timezone orNull `json:"timezone"`
	Language orNull `json:"language"`
}

// seconds is a time in UTC as the generic contract writes it: 2025-01-12T09:30:00Z.
type seconds time.Time

func (t seconds) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05Z"), nil
}

func newGenericAccount(a *events.Account) *genericAccount {
	p := &a.Profile
	g := &genericAccount{
		ID: publicID("acct_", a.ID), Email: a.Email, Name: orNull(commands.Name(p)), Type: "individual", Status: "active",
		CreatedAt: seconds(a.Opened), UpdatedAt: seconds(a.Updated),
		Settings: genericSettings{
			Currency: orNull(p.CurrencyCode), Timezone: orNull(p.TimeZone), Language: orNull(p.LanguageCode),
		},
	}
	if p.AccountType == events.TypeOrganisation {
		g.Type = "business"
	}
	return g
}

// getAccount is GET /v1/account.
func (x *exchange) getAccount() error {
	a, err := x.Reader.Account(x.r.Context(), x.who.Account)
	if err != nil {
		return err
	}
	return x.answerRead(a.Version, func() any { return newGenericAccount(&a) })
}

// patchAccount is PATCH /v1/account.
func (x *exchange) patchAccount() error {
	update, err := x.genericUpdate()
	if err != nil {
		return err
	}
	out, err := x.do(x.who.Account, update)
	if err != nil {
		return err
	}
	return x.answerAt(out.Account.Version, newGenericAccount(out.Account))
}

// genericUpdate reads the update that the request asks for. The contract has
// no word against changing an administrator's own address.
func (x *exchange) genericUpdate() (*commands.Update, error) {
	data, err := x.jsonBody()
	if err != nil {
		return nil, err
	}
	var b body
	if err := b.read(data, genericBody); err != nil {
		return nil, err
	}
	if len(b.wrong) > 0 {
		return nil, &rejection{b.wrong}
	}
	b.update.AdministratorEmail, b.update.If = true, condition(x.r.Header)
	b.update.VerifyEmail = x.EmailChangePolicy == EmailVerify
	b.update.EmailNeedsProof = isHolders(&x.who) && !x.SessionEmailChange
	return &b.update, nil
}
