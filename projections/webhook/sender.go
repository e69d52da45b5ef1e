package webhook

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// Config configures a Sender.
type Config struct {
	Accounts Past // required
	// Notices tells what Payway's shapes need of erased accounts; nil knows none,
	// and then the account's key must outlive the telling.
	Notices Notices
	// Allow lists addresses that may be dialled although they are private,
	// loopback or the like, and those that may be sent to without TLS.
	Allow []netip.Prefix
	// Issuer is the iss of security event tokens, the URL under which konto is
	// known to third parties; "" means konto.
	Issuer string
	// TokenKey signs security event tokens: TokenKey makes it. Required.
	TokenKey ed25519.PrivateKey
	// Timeout bounds one attempt from its first byte to its last; 0 means 15 s,
	// which is what Standard Webhooks recommends at least.
	Timeout time.Duration
	Now     func() time.Time // nil means time.Now

	resolver *net.Resolver  // nil means net.DefaultResolver
	roots    *x509.CertPool // nil means the machine's
}

// Past knows accounts as they were.
type Past interface {
	// AccountAt returns the account right after its event with that version. It
	// is safe for concurrent use. One that was erased since may be so at every
	// version. Errors pass.
	AccountAt(ctx context.Context, id ulid.ULID, version uint64) (events.Account, error)
}

// Notices keeps what the owners of erased accounts are called in Payway's shapes,
// until everybody was told of the erasure.
type Notices interface {
	// Notice returns the Payway id of an account that was erased; ok is false when
	// it is not known, or not any more. It is safe for concurrent use.
	Notice(ctx context.Context, account ulid.ULID) (paywayID string, ok bool, err error)
}

// Sender makes attempts. It is safe for concurrent use and holds no state of a
// third party but idle connections.
type Sender struct {
	Config
	secure   http.Client // for https
	insecure http.Client // for http, to allowed addresses alone
}

const defaultTimeout = 15 * time.Second

// NewSender checks the configuration.
func NewSender(cfg Config) (*Sender, error) {
	if cfg.Accounts == nil || len(cfg.TokenKey) != ed25519.PrivateKeySize {
		return nil, errors.New("a webhook sender needs accounts and a key for tokens")
	}
	if cfg.Timeout < 0 {
		return nil, errors.New("the timeout of webhooks is not positive")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Issuer == "" {
		cfg.Issuer = "konto"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Sender{Config: cfg}
	s.secure = s.client(newGuard(cfg.Allow))
	s.insecure = s.client(newInsecureGuard(cfg.Allow))
	return s, nil
}

// Send makes one attempt to tell a third party of an event, as its format has
// it. It never fails: what went wrong is in the answer. When ctx ended, the
// answer says Failed and means nothing.
func (s *Sender) Send(ctx context.Context, party events.ThirdParty, e events.Event) Answer {
	m, err := s.compose(ctx, &party, &e)
	switch {
	case errors.Is(err, errWordless):
		return Answer{Verdict: Skipped, Problem: errWordless.Error()}
	case errors.Is(err, errErased):
		return Answer{Verdict: Skipped, Problem: errErased.Error()}
	case ctx.Err() != nil:
		return Answer{Problem: "interrupted"}
	case err != nil:
		// Its text may be about what the event holds.
		return Answer{Verdict: Unsent, Problem: "event could not be put into the format"}
	}
	return s.attempt(ctx, &party, m)
}

// Test makes one attempt with an event that means nothing, in the third party's
// format and signed like all.
func (s *Sender) Test(ctx context.Context, party events.ThirdParty) Answer {
	m, err := s.composeTest(&party, ulid.Make(), s.Now())
	if err != nil {
		return Answer{Verdict: Unsent, Problem: "event could not be put into the format"}
	}
	return s.attempt(ctx, &party, m)
}
