package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// keysFresh is how old keys may be before a use of them fetches new ones
	// behind its back.
	keysFresh = 10 * time.Minute
	// keysUsable is how old they may be at all. It is as long as access tokens
	// live, so that an issuer that is away costs nobody a token that he has.
	keysUsable = 2 * time.Hour
	// fetchPause lies between two fetches, whatever tokens claim to be signed with.
	fetchPause   = 10 * time.Second
	fetchTimeout = 5 * time.Second
	// maxDocument bounds what is read of an issuer's answer, in bytes.
	maxDocument = 1 << 20
)

// errUnknownKey is for a token that is signed with none of the issuer's keys.
var errUnknownKey = errors.New("issuer has no such key")

// keySet is an issuer's public keys. It has no goroutine of its own: keys are
// fetched when a token asks for them, once for all who ask.
//
//	key is known, fresh         used
//	key is known, fresh no more used, and fetched anew meanwhile
//	key is unknown, or too old  the token waits for a fetch, unless the last one
//	                            began less than fetchPause ago
type keySet struct {
	issuer string
	url    string // of the keys; "": the issuer's metadata tells
	now    func() time.Time
	log    *slog.Logger
	client http.Client

	mu       sync.Mutex
	keys     map[keyName]jwt.VerificationKeySet
	fetched  time.Time     // when the fetch of keys began
	tried    time.Time     // when the last fetch began
	failed   bool          // whether it failed
	fetching chan struct{} // closed when the fetch under way ends; nil when there is none
}

// keyName is what a token says of the key that it is signed with. The kid is ""
// in tokens and keys that have none. Each key is for one algorithm only, so that a
// token cannot choose how its signature is read.
type keyName struct{ kid, alg string }

func newKeySet(cfg *Config) *keySet {
	return &keySet{
		issuer: cfg.JWTIssuer, url: cfg.JWKSURL, now: cfg.Now, log: cfg.Log,
		client: http.Client{Timeout: fetchTimeout},
	}
}

// find returns the public keys of a name: one, unless the issuer gave several keys
// one kid or none. Errors: errUnknownKey; errIssuerAway when the keys could not be
// fetched, so that nobody can tell; ctx's own.
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

// look returns keys, or the end of a fetch to wait for before looking again.
func (s *keySet) look(name keyName) (keys jwt.VerificationKeySet, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	age := now.Sub(s.fetched)
	keys, known := s.keys[name]
	known = known && age < keysUsable
	if (!known || age >= keysFresh) && s.fetching == nil && now.Sub(s.tried) >= fetchPause {
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

// fetch replaces the keys, so that those which the issuer has withdrawn are
// gone. Its time is bounded by itself and by no caller: others wait for it too.
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
	return usableKeys(set.Keys), nil
}

// usableKeys reads a set of keys one by one. A key that cannot be read, or that
// konto has no use for, does not keep the others from being used.
func usableKeys(set []jsontext.Value) map[keyName]jwt.VerificationKeySet {
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

// discover reads where the keys are in the issuer's metadata (OpenID Connect
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
	// Lenient, so that what is wrong inside one key is found when that key is read.
	lenient := []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
	if err := json.UnmarshalRead(io.LimitReader(answer.Body, maxDocument), into, lenient...); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}
