package webhook

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// The types of security events (OpenID RISC Profile 1.0, and for the last one
// the OpenID Shared Signals Framework 1.0).
const (
	riscIdentifierChanged = "https://schemas.openid.net/secevent/risc/event-type/identifier-changed"
	riscAccountPurged     = "https://schemas.openid.net/secevent/risc/event-type/account-purged"
	ssfVerification       = "https://schemas.openid.net/secevent/ssf/event-type/verification"
)

// mediaSecurityEvent is pushed as it is (RFC 8935, section 2.1).
const mediaSecurityEvent = "application/secevent+jwt"

// securityEvent makes a Security Event Token (RFC 8417) of an event.
func (s *Sender) securityEvent(party *events.ThirdParty, e *events.Event) (message, error) {
	category, account, err := e.Stream.Split()
	if err != nil || category != events.CategoryAccount {
		return message{}, errWordless
	}
	claims := jwt.MapClaims{}
	switch e.Type {
	case events.TypeEmailChanged:
		p, err := e.Payload()
		if err != nil {
			return message{}, err
		}
		changed := p.(events.EmailChanged)
		// The subject is what the third party knows the account by: the address
		// until now.
		claims["sub_id"] = map[string]any{"format": "email", "email": changed.PreviousEmail}
		claims["events"] = map[string]any{riscIdentifierChanged: map[string]any{"new-value": changed.NewEmail}}
	case events.TypeAccountErased:
		claims["sub_id"] = map[string]any{"format": "iss_sub", "iss": s.Issuer, "sub": account.String()}
		claims["events"] = map[string]any{riscAccountPurged: map[string]any{}}
	default:
		return message{}, errWordless
	}
	if e.Metadata.RequestID != "" {
		claims["txn"] = e.Metadata.RequestID // what one request caused belongs together
	}
	return s.token(party, e.ID, e.Time, claims)
}

// verification is the test event of the Shared Signals Framework. Its subject
// is the stream of events, which is the third party.
func (s *Sender) verification(party *events.ThirdParty, id ulid.ULID, at time.Time) (message, error) {
	return s.token(party, id, at, jwt.MapClaims{
		"sub_id": map[string]any{"format": "opaque", "id": party.ID.String()},
		"events": map[string]any{ssfVerification: map[string]any{}},
	})
}

// token signs the claims. It is issued when the event happened, and not anew
// for each attempt: with Ed25519's signatures, which are not random, a
// repetition is then the same token. A token has neither sub nor exp, so that
// nobody can use it to log in (RFC 8417, section 4).
func (s *Sender) token(party *events.ThirdParty, id ulid.ULID, at time.Time, claims jwt.MapClaims) (message, error) {
	claims["iss"], claims["aud"], claims["jti"] = s.Issuer, party.Name, id.String()
	claims["iat"], claims["toe"] = at.Unix(), at.Unix()
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	t.Header["typ"], t.Header["kid"] = "secevent+jwt", keyID(s.TokenKey)
	signed, err := t.SignedString(s.TokenKey)
	if err != nil {
		return message{}, fmt.Errorf("sign security event token: %w", err)
	}
	return message{media: mediaSecurityEvent, accept: mediaJSON, body: []byte(signed)}, nil
}
