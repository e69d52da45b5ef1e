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

// putAccount is PUT /external/api/v1/accounts, and its earlier version by the
// table that it is given.
func putAccount(members []member) endpoint {
	needs := addressNeeds(members)
	return func(x *exchange) error {
		p, err := x.readPayway(members)
		if err != nil {
			return err
		}
		// What is wrong with a value is told by commands, beside its own findings:
		// it does not count if the account has that value already.
		p.update.Rejected, p.update.AddressNeeds = x.contract.untranslate(p.wrong), needs
		id, err := x.paywayAccount(p.paywayID.To)
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

// addressNeeds lists commands' pointers to the required members of the address.
func addressNeeds(members []member) (needs []string) {
	for _, m := range members[find(members, "address")].members {
		if m.required {
			needs = append(needs, m.field)
		}
	}
	return needs
}

// readPayway reads the update that the request asks for. Its error tells of
// wrong members when they keep any request from being handled; others stay in wrong.
func (x *exchange) readPayway(members []member) (*body, error) {
	data, err := x.jsonBody()
	if err != nil {
		return nil, err
	}
	p := &body{asked: make([]string, 0, 8)} // to be told which were updated
	if err := p.read(data, members); err != nil {
		return nil, err
	}
	if paywayRefuses(p.wrong) {
		return nil, &rejection{p.wrong}
	}
	p.update.FormatsDecided, p.update.If = true, condition(x.r.Header)
	return p, nil
}

// paywayAccount finds an account by Payway's id. When there is none it returns
// the zero id, which is no account's: what is wrong with the request comes
// before 404, and commands has rules of its own.
func (x *exchange) paywayAccount(id string) (account ulid.ULID, err error) {
	account, err = x.Accounts.Find(x.r.Context(), events.PaywayIDClaim(id))
	if errors.Is(err, commands.ErrNotFound) {
		return ulid.ULID{}, nil
	}
	return account, err
}

// answerUpdated tells which fields were updated and which were not: 207 when
// there are any of the latter. An address with a wrong member that is not
// required is in both lists.
func (b *body) answerUpdated(x *exchange, out commands.Outcome) error {
	status := http.StatusOK
	if len(out.Rejected) > 0 {
		status = http.StatusMultiStatus
	}
	noAddress := slices.ContainsFunc(out.Rejected, func(f commands.FieldError) bool {
		return slices.Contains(b.update.AddressNeeds, f.Field)
	})
	wrong := x.contract.translate(out.Rejected)
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

// updated lists the outermost names of the members that are not wrong.
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

// paywayName writes a pointer as Payway does: "address last_name".
func paywayName(pointer string) string {
	return strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", " ")
}
