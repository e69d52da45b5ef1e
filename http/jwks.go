package http

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// keysFreshFor is how long keys are used without a fetch in the background.
	keysFreshFor = 10 * time.Minute
	// keysUsableFor is how long keys are used at all. Access tokens live as long, so
	// a token stays usable while the issuer is unreachable.
	keysUsableFor = 2 * time.Hour
	// minFetchInterval is the shortest time between two fetches, whatever keys the
	// tokens name.
	minFetchInterval = 10 * time.Second
	fetchTimeout     = 5 * time.Second
	// maxDocument is how much of an issuer's answer is read, in bytes.
	maxDocument = 1 << 20
)

// errUnknownKey says that the issuer has no key of the token's name.
var errUnknownKey = errors.New("issuer has no such key")

// keySet is an issuer's public keys. It has no goroutine of its own: a token that
// needs keys starts the fetch, and all tokens that need keys wait for the same one.
//
//	known and fresh      use it
//	known but stale      use it, and fetch the keys in the background
//	unknown, or too old  wait for a fetch, unless the last one began less than
//	                     minFetchInterval ago
type keySet struct {
	issuer string
	url    string // of the keys; "" means where the issuer's metadata says
	now    func() time.Time
	log    *slog.Logger
	client http.Client

	mu       sync.Mutex
	keys     map[keyName]jwt.VerificationKeySet
	fetched  time.Time     // when the fetch of keys began
	tried    time.Time     // when the last fetch began
	failed   bool          // whether it failed
	fetching chan struct{} // closed when the running fetch ends; nil if none runs
}

// keyName is what a token says about the key that signed it. The kid is "" in tokens
// and keys without one. Each key is for one algorithm only, so that a token cannot
// choose how its signature is verified.
type keyName struct{ kid, alg string }

// find returns the public keys of a name: one, unless several keys of the issuer
// have the same kid or none. Errors: errUnknownKey; errIssuerAway if the keys could
// not be fetched, so that nobody knows; the error of ctx.
func (s *keySet) find(ctx context.Context, name keyName) (jwt.VerificationKeySet, error) {
	for {
		keys, wait, err := s.look(name)
		if wait == nil {
			return keys, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return keys, ctx.Err()
		}
	}
}

// look returns keys, or a channel to wait for before the next look.
func (s *keySet) look(name keyName) (keys jwt.VerificationKeySet, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	age := now.Sub(s.fetched)
	keys, known := s.keys[name]
	known = known && age < keysUsableFor
	if (!known || age >= keysFreshFor) && s.fetching == nil && now.Sub(s.tried) >= minFetchInterval {
		s.tried, s.fetching = now, make(chan struct{})
		go s.fetch(now)
	}
	switch {
	case known:
		return keys, nil, nil
	case s.fetching != nil:
		return keys, s.fetching, nil
	case s.failed:
		return keys, nil, errIssuerAway
	}
	return keys, nil, errUnknownKey
}

// fetch replaces all keys, so that withdrawn ones disappear. No caller's context
// ends it, because other callers wait for it too.
func (s *keySet) fetch(began time.Time) {
	keys, err := s.download(context.Background())
	if err != nil {
		s.log.Warn("issuer's keys could not be fetched", "issuer", s.issuer, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = err != nil; !s.failed {
		s.keys, s.fetched = keys, began
	}
	close(s.fetching)
	s.fetching = nil
}

// download reads the issuer's keys.
func (s *keySet) download(ctx context.Context) (map[keyName]jwt.VerificationKeySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	url := s.url
	if url == "" {
		var err error
		if url, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := s.get(ctx, url, &set); err != nil {
		return nil, err
	}
	if set.Keys == nil {
		return nil, fmt.Errorf("%s shows no set of keys", url)
	}
	return parseKeys(set.Keys), nil
}

// parseKeys reads the keys of a set one by one. It ignores keys that cannot be read,
// and keys for other purposes, so that the other keys stay usable.
func parseKeys(set []jsontext.Value) map[keyName]jwt.VerificationKeySet {
	usable := map[keyName]jwt.VerificationKeySet{}
	for _, text := range set {
		var k jwk
		if err := json.Unmarshal(text, &k); err != nil {
			continue
		}
		if alg, key, ok := k.public(); ok {
			name := keyName{k.ID, alg}
			usable[name] = jwt.VerificationKeySet{Keys: append(usable[name].Keys, key)}
		}
	}
	return usable
}

// discover returns the keys' URL from the issuer's metadata (OpenID Connect
// Discovery 1.0, sections 4.1 and 4.3).
func (s *keySet) discover(ctx context.Context) (string, error) {
	var metadata struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := s.get(ctx, strings.TrimSuffix(s.issuer, "/")+"/.well-known/openid-configuration", &metadata); err != nil {
		return "", err
	}
	if metadata.Issuer != s.issuer || metadata.Keys == "" {
		return "", errors.New("metadata is another issuer's, or tells of no keys")
	}
	return metadata.Keys, nil
}

// get reads a JSON document of the issuer.
func (s *keySet) get(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", mediaJSON)
	answer, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, answer.Status)
	}
	// Errors inside of one key are found later, when that key is read.
	lenient := []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	if err := json.UnmarshalRead(io.LimitReader(answer.Body, maxDocument), into, lenient...); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}

// The algorithms with which outside issuers may sign (RFC 7518, section 3.1, and RFC
// 8037). None is symmetric, because a public key must never serve as a shared secret.
const (
	algRSA   = "RS256"
	algECDSA = "ES256"
	algEdDSA = "EdDSA"
)

// minModulus is the length of the shortest RSA key that is accepted, in bits (RFC
// 7518, section 3.3).
const minModulus = 2048

// jwk is a public key in a set of keys (RFC 7517). Its numbers are in base64url,
// without padding.
type jwk struct {
	Type  string `json:"kty"`
	ID    string `json:"kid"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
	Curve string `json:"crv"`
	N     string `json:"n"`
	E     string `json:"e"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// public returns the key and its only algorithm, or false for a key that verifies
// no signatures, such as one for encryption.
func (k *jwk) public() (alg string, key any, ok bool) {
	switch {
	case k.Use != "" && k.Use != "sig":
		return "", nil, false
	case k.Type == "RSA":
		alg, key = algRSA, k.rsa()
	case k.Type == "EC" && k.Curve == "P-256":
		alg, key = algECDSA, k.ecdsa()
	case k.Type == "OKP" && k.Curve == "Ed25519":
		alg, key = algEdDSA, k.ed25519()
	}
	return alg, key, key != nil && (k.Alg == "" || k.Alg == alg)
}

func (k *jwk) rsa() any {
	n, e := new(big.Int).SetBytes(base64url(k.N)), new(big.Int).SetBytes(base64url(k.E))
	if n.BitLen() < minModulus || e.BitLen() > 31 || e.Bit(0) == 0 || e.Int64() < 3 {
		return nil
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}
}

// ecdsa checks that the point lies on the curve.
func (k *jwk) ecdsa() any {
	point := append([]byte{4}, append(base64url(k.X), base64url(k.Y)...)...)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil
	}
	return key
}

func (k *jwk) ed25519() any {
	key := base64url(k.X)
	if len(key) != ed25519.PublicKeySize {
		return nil
	}
	return ed25519.PublicKey(key)
}

// base64url decodes a text, or returns nil if it is not base64url.
func base64url(text string) []byte {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return data
}
