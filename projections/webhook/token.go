package webhook

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
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

// mediaSecurityEvent is the media type of a pushed token (RFC 8935, section 2.1).
const mediaSecurityEvent = "application/secevent+jwt"

// securityEvent makes a Security Event Token (RFC 8417) of an event.
func (s *Sender) securityEvent(party *events.ThirdParty, e *events.Event) (message, error) {
	category, account, err := e.Stream.Split()
	if err != nil || category != events.CategoryAccount {
		return message{}, errInexpressible
	}
	claims := jwt.MapClaims{}
	switch e.Type {
	case events.TypeEmailChanged:
		p, err := e.Payload()
		if err != nil {
			return message{}, err
		}
		changed := p.(events.EmailChanged)
		// The subject is the address by which the third party knows the account until now.
		claims["sub_id"] = map[string]any{"format": "email", "email": changed.PreviousEmail}
		claims["events"] = map[string]any{riscIdentifierChanged: map[string]any{"new-value": changed.NewEmail}}
	case events.TypeAccountErased:
		claims["sub_id"] = map[string]any{"format": "iss_sub", "iss": s.Issuer, "sub": account.String()}
		claims["events"] = map[string]any{riscAccountPurged: map[string]any{}}
	default:
		return message{}, errInexpressible
	}
	if e.Metadata.RequestID != "" {
		claims["txn"] = e.Metadata.RequestID // events of one request have the same txn
	}
	return s.token(party, e.ID, e.Time, claims)
}

// verification is the test event of the Shared Signals Framework. Its subject is the stream of
// events, which is the third party's.
func (s *Sender) verification(party *events.ThirdParty, id ulid.ULID, at time.Time) (message, error) {
	return s.token(party, id, at, jwt.MapClaims{
		"sub_id": map[string]any{"format": "opaque", "id": party.ID.String()},
		"events": map[string]any{ssfVerification: map[string]any{}},
	})
}

// token signs the claims. Its iat is the time of the event and not of the attempt. Ed25519
// signatures are not random, so a repetition is the same token. A token has neither sub nor exp,
// so that nobody can use it to log in (RFC 8417, section 4).
func (s *Sender) token(party *events.ThirdParty, id ulid.ULID, at time.Time, claims jwt.MapClaims) (message, error) {
	claims["iss"], claims["aud"], claims["jti"] = s.Issuer, party.Name, id.String()
	claims["iat"], claims["toe"] = at.Unix(), at.Unix()
	signed, err := signJWT(s.TokenKey, "secevent+jwt", claims)
	return message{media: mediaSecurityEvent, accept: mediaJSON, body: []byte(signed)}, err
}

// signJWT signs claims with TokenKey's key. The type distinguishes tokens of one key.
func signJWT(key ed25519.PrivateKey, kind string, claims jwt.MapClaims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	t.Header["typ"], t.Header["kid"] = kind, keyID(key)
	signed, err := t.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign %s: %w", kind, err)
	}
	return signed, nil
}

// tokenPurpose is the purpose for which the key is derived.
const tokenPurpose = "security event tokens"

// TokenKey is the key that signs security event tokens. There is one for all third parties,
// because they check with the public key. derive is the keyring's.
func TokenKey(derive func(purpose string) []byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(derive(tokenPurpose))
}

// publicKey is a JWK (RFC 7517, and RFC 8037 for the type). Its first three members are in the
// order in which RFC 7638 hashes them to make a key's id.
type publicKey struct {
	Curve string `json:"crv"`
	Type  string `json:"kty"`
	X     string `json:"x"`
	ID    string `json:"kid,omitzero"`
	Use   string `json:"use,omitzero"`
	Alg   string `json:"alg,omitzero"`
}

func newPublicKey(key ed25519.PrivateKey) publicKey {
	x := key.Public().(ed25519.PublicKey)
	return publicKey{Curve: "Ed25519", Type: "OKP", X: base64.RawURLEncoding.EncodeToString(x)}
}

// KeySet is the public key as a set of keys (RFC 7517, section 5), with which third parties
// check security event tokens.
func KeySet(key ed25519.PrivateKey) []byte {
	k := newPublicKey(key)
	k.ID, k.Use, k.Alg = keyID(key), "sig", "EdDSA"
	set, err := json.Marshal(map[string][]publicKey{"keys": {k}})
	if err != nil {
		panic(err) // strings only, which always encode
	}
	return set
}

// keyID is the key's thumbprint (RFC 7638).
func keyID(key ed25519.PrivateKey) string {
	members, err := json.Marshal(newPublicKey(key))
	if err != nil {
		panic(err) // strings only, which always encode
	}
	sum := sha256.Sum256(members)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ErasureProof is konto's statement about an account that it erased. Nothing in it identifies
// the account's owner.
type ErasureProof struct {
	Account ulid.ULID
	// Event and Position are those of AccountErased in the log. They are zero when the account
	// was erased again in a restored log that never had it.
	Event    ulid.ULID
	Position uint64
	Keys     int // that were destroyed: the account's, and those of its credentials
	At       time.Time
}

// Sign makes a signed statement (JWS, RFC 7515) of the proof, which can be checked with the keys
// at /.well-known/jwks.json. key is TokenKey's. The claims are iss (konto), jti, iat, sub (the
// account's ULID) and the object erasure with event, position and keysDestroyed. It never expires.
func (p ErasureProof) Sign(key ed25519.PrivateKey) (string, error) {
	erasure := map[string]any{"keysDestroyed": p.Keys}
	if p.Position > 0 {
		erasure["event"], erasure["position"] = p.Event.String(), p.Position
	}
	return signJWT(key, "konto-erasure+jwt", jwt.MapClaims{
		"iss": "konto", "jti": ulid.Make().String(), "iat": p.At.Unix(), "sub": p.Account.String(), "erasure": erasure,
	})
}

// CheckErasureProof returns an error unless a proof is about the account and the time of its
// erasure, to the second. A signature of another key than TokenKey's is not checked, because the
// keyring may have been replaced since, as after an import.
func CheckErasureProof(proof string, account ulid.ULID, at time.Time, key ed25519.PrivateKey) error {
	var said jwt.RegisteredClaims
	t, _, err := jwt.NewParser().ParseUnverified(proof, &said)
	switch {
	case err != nil:
		return errors.New("the proof of the erasure cannot be read")
	case said.Subject != account.String() || said.IssuedAt == nil || !said.IssuedAt.Equal(at):
		return errors.New("the proof is of another erasure")
	case t.Header["kid"] != keyID(key):
		return nil
	}
	public := func(*jwt.Token) (any, error) { return key.Public(), nil }
	if _, err := jwt.Parse(proof, public, jwt.WithValidMethods([]string{"EdDSA"})); err != nil {
		return errors.New("the proof of the erasure is not signed with konto's key")
	}
	return nil
}
