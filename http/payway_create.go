package http

import (
	"errors"
	"net/http"

	"github.com/oklog/ulid/v2"

	"konto/commands"
)

// paywayNew holds the members of POST accounts: those of the update but for the
// two that only an update has, and a password.
var paywayNew = newAccountMembers()

func newAccountMembers() []member {
	var members []member
	for _, m := range paywayV1 {
		switch m.name {
		case "id", "atomic":
			continue
		case "email":
			m.required = true
		}
		members = append(members, m)
	}
	return append(members, member{
		name: "password", required: true, check: paywayPassword, to: func(b *body) *change { return &b.password },
	})
}

// postAccount is POST /external/api/v1/accounts. Payway's id is made here.
func (x *exchange) postAccount() error {
	p, err := x.readPayway(paywayNew)
	if err != nil {
		return err
	}
	if len(p.wrong) > 0 {
		return &rejection{p.wrong}
	}
	account := commands.Open{
		Email: p.update.Email.To, PaywayID: commands.NewPaywayID(), Profile: p.update.Profile, FormatsDecided: true,
		If: p.update.If,
	}.WithDefaults()
	// What is wrong is told before the password is hashed, which costs far more
	// than all the rest. Whether the address is taken cannot be: when this is a
	// request sent again, it was taken by the first.
	if err := account.Check(x.at); err != nil {
		return err
	}
	if account.PasswordHash, err = commands.HashPassword(x.r.Context(), p.password.To); err != nil {
		return err
	}
	out, err := x.do(ulid.Make(), account)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Location", x.r.URL.Path+"?id="+out.Account.PaywayID)
	h.Set("ETag", etag(out.Account.Version))
	return x.answer(http.StatusCreated, mediaJSON, newPaywayAccount(out.Account))
}

// paywayPassword takes 6 to 1024 characters, as they are once the password is
// brought into its one form (commands.CheckPassword).
func paywayPassword(text string) (code, detail string) {
	_, err := commands.CheckPassword(text)
	var invalid *commands.Invalid
	switch {
	case !errors.As(err, &invalid):
		return "", ""
	case invalid.Fields[0].Code == commands.CodeInvalidFormat:
		return commands.CodeInvalidFormat, "Parameter has a character that cannot be in a password"
	}
	return commands.CodeInvalidValue, "Parameter must have 6 to 1024 characters"
}
