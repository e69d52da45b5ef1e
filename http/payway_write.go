package http

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
)

// paywayUpdated is the answer to an update. Its lists are texts, as in the
// contract's example.
type paywayUpdated struct {
	ID               string `json:"id"`
	UpdatedFields    string `json:"updated_fields"`
	NotUpdatedFields string `json:"not_updated_fields"`
}

// putAccount is PUT /external/api/v1/accounts, or its earlier version. The table
// decides which.
func putAccount(members []member) endpoint {
	needs := addressNeeds(members)
	return func(x *exchange) error {
		p, err := x.readPayway(members)
		if err != nil {
			return err
		}
		// commands reports wrong values, together with what it finds itself. A wrong
		// value does not count if the account has that value already.
		p.update.Rejected, p.update.AddressNeeds = p.wrong, needs
		id, err := x.paywayAccount(p.other("/id").To)
		if err != nil {
			return err
		}
		out, err := x.do(id, &p.update)
		if err != nil {
			return err
		}
		x.w.Header().Set("ETag", etag(out.Account.Version))
		return p.answerUpdated(x, out)
	}
}

// addressNeeds lists the required members of the address, as commands' pointers.
func addressNeeds(members []member) (needs []string) {
	for _, m := range members[find(members, "address")].members {
		if m.required {
			needs = append(needs, m.field)
		}
	}
	return needs
}

// readPayway reads the update. Its error lists wrong members if the whole request
// must be refused because of them. Otherwise they stay in wrong.
func (x *exchange) readPayway(members []member) (*body, error) {
	p := &body{asked: make([]string, 0, 8)} // to list which members were updated
	if err := x.members(p, members); err != nil {
		return nil, err
	}
	if refusesWholeRequest(p.wrong) {
		return nil, &commands.Invalid{Fields: p.wrong}
	}
	p.update.FormatsDecided, p.update.If = true, condition(x.r.Header)
	return p, nil
}

// paywayAccount finds an account by Payway's id. If there is none it returns the
// zero id, which no account has. The 404 then comes from commands, whose rules come
// first.
func (x *exchange) paywayAccount(id string) (account ulid.ULID, err error) {
	account, err = x.Accounts.Find(x.r.Context(), events.PaywayIDClaim(id))
	if errors.Is(err, commands.ErrNotFound) {
		return ulid.ULID{}, nil
	}
	return account, err
}

// answerUpdated lists which fields were updated and which were not. It answers 207
// if any was not. An address with a wrong member that is not required is in both
// lists.
func (b *body) answerUpdated(x *exchange, out commands.Outcome) error {
	status := http.StatusOK
	if len(out.Rejected) > 0 {
		status = http.StatusMultiStatus
	}
	noAddress := slices.ContainsFunc(out.Rejected, func(f commands.FieldError) bool {
		return slices.Contains(b.update.AddressNeeds, f.Field)
	})
	wrong := x.contract.toContractFields(out.Rejected)
	not := make([]string, len(wrong))
	for i, f := range wrong {
		not[i] = paywayName(f.Field) + ": " + f.Code
	}
	return x.answer(status, mediaJSON, paywayUpdated{
		ID:               out.Account.PaywayID,
		UpdatedFields:    strings.Join(b.updated(wrong, noAddress), ", "),
		NotUpdatedFields: strings.Join(not, ", "),
	})
}

// updated lists the members that were updated, by their outermost names.
func (b *body) updated(wrong []commands.FieldError, noAddress bool) []string {
	var names []string
	refused := map[string]bool{"/id": true, "/atomic": true}
	for _, f := range wrong {
		refused[f.Field] = true
	}
	for _, pointer := range b.asked {
		name, _, nested := strings.Cut(pointer[1:], "/")
		if refused[pointer] || nested && noAddress || len(names) > 0 && names[len(names)-1] == name {
			continue
		}
		names = append(names, name)
	}
	return names
}

// paywayName writes a pointer in Payway's way: "address last_name".
func paywayName(pointer string) string {
	return strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", " ")
}

// paywayNew lists the members of POST accounts: those of the update except id and
// atomic, and a password.
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
	return placed("", append(members, member{name: "password", required: true, check: paywayPassword}))
}

// postAccount is POST /external/api/v1/accounts. It makes Payway's id.
func (x *exchange) postAccount() error {
	p, err := x.readPayway(paywayNew)
	if err != nil {
		return err
	}
	if len(p.wrong) > 0 {
		return &commands.Invalid{Fields: p.wrong}
	}
	account := commands.Open{
		Email: p.update.Email.To, PaywayID: commands.NewPaywayID(), Profile: p.update.Profile, FormatsDecided: true,
		If: p.update.If,
	}.WithDefaults()
	// Check comes before the hashing of the password, which costs far more than the
	// rest. Whether the address is taken is not checked here: if the caller repeats a
	// request, its first execution took the address.
	if err := account.Check(x.at); err != nil {
		return err
	}
	if account.PasswordHash, err = commands.HashPassword(x.r.Context(), p.other("/password").To); err != nil {
		return err
	}
	out, err := x.do(ulid.Make(), account)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Location", x.r.URL.Path+"?id="+out.Account.PaywayID)
	h.Set("ETag", etag(out.Account.Version))
	return x.answer(http.StatusCreated, mediaJSON, accountPayway{out.Account})
}

// paywayPassword accepts 6 to 1024 characters, counted after normalisation
// (commands.CheckPassword).
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
