package http

import (
	"context"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
)

// selector is a parameter of GET accounts that names one account.
type selector struct {
	name  string
	check format
	// find looks for the account at a point in time, which decides what some numbers mean.
	find func(ctx context.Context, a *commands.Accounts, value string, now time.Time) (ulid.ULID, error)
}

var selectors = []selector{
	{"id", paywayID, holderOf(events.PaywayIDClaim)},
	{"email", anyEmail, func(ctx context.Context, a *commands.Accounts, value string, _ time.Time) (ulid.ULID, error) {
		return a.FindEmail(ctx, value)
	}},
	{"social_security_number", paywaySocialSecurityNumber, func(ctx context.Context, a *commands.Accounts, value string, now time.Time) (ulid.ULID, error) {
		return a.Find(ctx, commands.SocialSecurityNumberClaim(value, now))
	}},
	{"customer_number", present, holderOf(events.CustomerNumberClaim)},
}

// holderOf finds the account by a claim that only one can hold.
func holderOf(claim func(value string) events.Claim) func(context.Context, *commands.Accounts, string, time.Time) (ulid.ULID, error) {
	return func(ctx context.Context, a *commands.Accounts, value string, _ time.Time) (ulid.ULID, error) {
		return a.Find(ctx, claim(value))
	}
}

// getPaywayAccount is GET /external/api/v1/accounts.
func (x *exchange) getPaywayAccount() error {
	by, value, err := selected(x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	id, err := by.find(x.r.Context(), x.Accounts, value, x.at)
	if err != nil {
		return err
	}
	a, err := x.Reader.Account(x.r.Context(), id)
	if err != nil {
		return err
	}
	return x.answerRead(a.Version, func() any { return newPaywayAccount(&a) })
}

// selected reads which account a query asks for. Its error is a *rejection, which lists
// what is wrong in the order of the query.
func selected(query string) (by *selector, asked string, err error) {
	var wrong []commands.FieldError
	reject := func(field, code, detail string) {
		wrong = append(wrong, commands.FieldError{Field: field, Code: code, Detail: detail})
	}
	const oneOfThem = "Exactly one of id, email, social_security_number and customer_number must be given"
	given := 0
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, ok := parameter(part)
		field := "/" + pointerEscape.Replace(name)
		s := selectorOf(name)
		if s != nil {
			given++
		}
		switch {
		case !ok:
			reject("", commands.CodeInvalidFormat, "The query could not be read")
		case s == nil:
			reject(field, commands.CodeUnknownField, "This parameter is not known.")
		case given > 1:
			reject(field, commands.CodeInvalidValue, oneOfThem)
		case value == "":
			reject(field, commands.CodeMustBeSet, "This parameter must be set.")
		default:
			if code, detail := s.check(value); code != "" {
				reject(field, code, detail)
			}
			by, asked = s, value
		}
	}
	if given == 0 && len(wrong) == 0 {
		reject("", commands.CodeInvalidValue, oneOfThem)
	}
	if len(wrong) > 0 {
		return nil, "", &rejection{wrong}
	}
	return by, asked, nil
}

// parameter reads one parameter of a query. net/url's own reader loses the
// parameters' order, which decides about the error that is answered.
func parameter(part string) (name, value string, ok bool) {
	name, value, _ = strings.Cut(part, "=")
	name, nameErr := url.QueryUnescape(name)
	value, valueErr := url.QueryUnescape(value)
	if nameErr != nil || valueErr != nil || !utf8.ValidString(name) || !utf8.ValidString(value) {
		return "", "", false
	}
	return name, value, true
}

func selectorOf(name string) *selector {
	for i := range selectors {
		if selectors[i].name == name {
			return &selectors[i]
		}
	}
	return nil
}

// anyEmail takes the addresses that any contract may have given to an account,
// and not only those that Payway's format takes: all of them can be asked for.
func anyEmail(text string) (code, detail string) {
	local, domain, _ := strings.Cut(text, "@")
	if local == "" || domain == "" || strings.ContainsRune(text, ' ') {
		return paywayEmail("")
	}
	return short(text)
}
