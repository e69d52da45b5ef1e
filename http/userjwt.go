package http

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/projections"
)

// UserIssuer is an identity provider, whose users are account holders.
type UserIssuer struct {
	Issuer
	// AccountClaim is the claim that has the account's id, in any form in which konto
	// shows one. "" means that the account is the one that sub is linked to
	// (commands.LinkIdentity).
	AccountClaim string
	// Scopes says which scopes of a token count as which of konto's, and no others
	// count. nil means that the scopes of a token count as they are.
	Scopes []ScopeMapping
}

// ScopeMapping says that a scope of an identity provider counts as one of konto's.
type ScopeMapping struct{ Theirs, Ours string }

// ParseScopeMapping parses THEIRS=OURS. The scope of the provider may contain the sign.
func ParseScopeMapping(text string) (ScopeMapping, error) {
	sign := strings.LastIndexByte(text, '=')
	if sign < 1 || !slices.Contains(commands.AccountScopes, text[sign+1:]) {
		return ScopeMapping{}, fmt.Errorf("%q is not THEIRS=OURS, where OURS is one of %s", text, strings.Join(commands.AccountScopes, ", "))
	}
	return ScopeMapping{Theirs: text[:sign], Ours: text[sign+1:]}, nil
}

// scopes returns the scopes of konto that a token has.
func (u *UserIssuer) scopes(theirs []string) []string {
	if u.Scopes == nil {
		return theirs
	}
	var ours []string
	for _, m := range u.Scopes {
		if slices.Contains(theirs, m.Theirs) && !slices.Contains(ours, m.Ours) {
			ours = append(ours, m.Ours)
		}
	}
	return ours
}

// holder returns the caller for whom the identity provider issued a token. The caller
// has the rights of an API key of the account.
//
// Nothing here is cached, and the log is asked, so an unlinked identity and an erased
// account are refused at once. That there is no such account, and that nobody is
// linked, are answered alike.
func (x *exchange) holder(claims jwt.MapClaims) (events.Credential, error) {
	subject, _ := claims["sub"].(string)
	if subject == "" || len(subject) > commands.MaxSubject {
		return events.Credential{}, projections.ErrUnauthenticated
	}
	account, err := x.accountOf(claims, subject)
	if err == nil {
		_, err = x.Accounts.Load(x.r.Context(), account)
	}
	switch {
	case errors.Is(err, commands.ErrNotFound) || errors.Is(err, commands.ErrNoID):
		return events.Credential{}, projections.ErrUnauthenticated
	case err != nil:
		return events.Credential{}, err
	}
	return events.Credential{
		// The account is part of the id, because a subject can be linked to another account
		// later, and must not get an answer of the first one with an old Idempotency-Key.
		ID: x.users.id(subject, account.String()), Kind: events.KindKey, Account: account, AuthType: authJWT,
		Scopes: x.UserTokens.scopes(scopesOf(claims)),
	}, nil
}

// accountOf returns the account that a token is for. Errors: commands.ErrNotFound,
// commands.ErrNoID, those of the log.
func (x *exchange) accountOf(claims jwt.MapClaims, subject string) (ulid.ULID, error) {
	if x.UserTokens.AccountClaim == "" {
		return x.Accounts.Find(x.r.Context(), events.IdentityClaim(events.Identity{Issuer: x.users.name, Subject: subject}))
	}
	shown, _ := claims[x.UserTokens.AccountClaim].(string)
	return x.Accounts.FindByID(x.r.Context(), shown)
}
