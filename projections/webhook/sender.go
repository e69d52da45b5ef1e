package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/events/tracing"
)

// Config configures a Sender.
type Config struct {
	Accounts Past // required
	// Notices has what Payway's formats need of erased accounts. If it is nil, an account's
	// key must exist until its erasure was sent.
	Notices Notices
	// Allow lists addresses that may be dialled although they are private or loopback, and
	// to which events may be sent without TLS.
	Allow []netip.Prefix
	// Issuer is the iss of security event tokens: the URL by which third parties know konto;
	// "" means konto.
	Issuer string
	// TokenKey signs security event tokens; the function TokenKey makes it. Required.
	TokenKey ed25519.PrivateKey
	// Timeout bounds one request from its first byte to the answer's last; 0 means 15 s, the
	// least that Standard Webhooks recommends.
	Timeout time.Duration
	Now     func() time.Time // nil means time.Now

	resolver *net.Resolver  // nil means net.DefaultResolver
	roots    *x509.CertPool // nil means the machine's
}

// Past knows accounts as they were.
type Past interface {
	// AccountAt returns the account right after its event with that version. An account that
	// was erased since may be erased at every version. It is safe for concurrent use. Its
	// errors are temporary.
	AccountAt(ctx context.Context, id ulid.ULID, version uint64) (events.Account, error)
}

// Notices has the Payway ids of erased accounts, until every third party was sent the erasure.
type Notices interface {
	// Notice returns the Payway id of an account that was erased. ok is false when it is not
	// known, or not any more. It is safe for concurrent use.
	Notice(ctx context.Context, account ulid.ULID) (paywayID string, ok bool, err error)
}

// Sender makes requests to third parties. It is safe for concurrent use. All it keeps of a
// third party is idle connections.
type Sender struct {
	Config
	secure   http.Client // for https
	insecure http.Client // for http, which is possible to allowed addresses only
}

const defaultTimeout = 15 * time.Second

// NewSender checks the configuration and makes a Sender.
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
	s.secure = s.client(publicOnly(cfg.Allow))
	s.insecure = s.client(allowedOnly(cfg.Allow))
	return s, nil
}

// Send sends an event to a third party once, in the third party's format. It returns no
// error: what went wrong is in the answer. When ctx ended, the answer is Failed and means
// nothing.
func (s *Sender) Send(ctx context.Context, party events.ThirdParty, e events.Event) Answer {
	m, err := s.compose(ctx, &party, &e)
	switch {
	case errors.Is(err, errInexpressible):
		return Answer{Verdict: Skipped, Problem: errInexpressible.Error()}
	case errors.Is(err, errErased):
		return Answer{Verdict: Skipped, Problem: errErased.Error()}
	case ctx.Err() != nil:
		return Answer{Problem: "interrupted"}
	case err != nil:
		// The error's text may quote the event.
		return Answer{Verdict: Unsent, Problem: "event could not be put into the format"}
	}
	return s.post(ctx, &party, m)
}

// Test sends a test event once, in the third party's format and signed like any other.
func (s *Sender) Test(ctx context.Context, party events.ThirdParty) Answer {
	m, err := s.composeTest(&party, ulid.Make(), s.Now())
	if err != nil {
		return Answer{Verdict: Unsent, Problem: "event could not be put into the format"}
	}
	return s.post(ctx, &party, m)
}

// bodyTime bounds how long an answer's body is waited for once its head has arrived. The
// head decides everything.
const bodyTime = time.Second

// post posts a message once.
func (s *Sender) post(parent context.Context, party *events.ThirdParty, m message) (a Answer) {
	ctx, cancel := context.WithTimeout(parent, s.Timeout)
	defer cancel()
	end := traced(&m, party.Name)
	defer func() { end(a) }()
	r, err := s.request(ctx, party, m)
	if err != nil {
		return Answer{Problem: "URL is not valid"}
	}
	client := &s.secure
	if r.URL.Scheme == "http" {
		client = &s.insecure
	}
	began := time.Now() // not Config.Now, which may stand still in tests
	answer, err := client.Do(r)
	if err != nil {
		return unanswered(parent, err, time.Since(began))
	}
	defer answer.Body.Close()
	a = Answer{Status: answer.StatusCode, Latency: time.Since(began), Verdict: verdict(answer)}
	if a.Verdict != Delivered {
		a.RetryAfter = retryAfter(answer.Header.Get("Retry-After"), s.Now())
	}
	defer time.AfterFunc(bodyTime, cancel).Stop()
	a.Excerpt = excerpt(answer.Body)
	return a
}

// traced makes the message carry on the trace of its event with a new span, and returns what ends the
// span. The span is exported if traces are.
func traced(m *message, party string) (end func(Answer)) {
	if m.trace == "" || !tracing.On() {
		m.trace = nextSpan(m.trace)
		return func(Answer) {}
	}
	span := tracing.Begin(tracing.Client, "webhook", m.trace, m.state)
	span.Set("konto.third_party", party, "konto.event.id", m.id.String())
	m.trace, m.state = span.Context()
	return func(a Answer) {
		span.SetInt("http.response.status_code", a.Status)
		problem := a.Problem
		if a.Verdict != Delivered {
			problem = cmp.Or(problem, "not delivered")
		}
		span.End(problem)
	}
}

func (s *Sender) request(ctx context.Context, party *events.ThirdParty, m message) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, party.URL, bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "konto")
	r.Header.Set("Content-Type", m.media)
	if m.accept != "" {
		r.Header.Set("Accept", m.accept)
	}
	if m.trace != "" {
		r.Header.Set("traceparent", m.trace)
		if m.state != "" {
			r.Header.Set("tracestate", m.state)
		}
	}
	sign(r.Header, party, m.id, s.Now(), m.body)
	return r, nil
}

// traceparent is version 00 of W3C Trace Context.
var traceparent = regexp.MustCompile(`\A00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})\z`)

// nextSpan returns the traceparent of a new span in a trace, so that the request that caused
// the event and the requests to third parties are one trace. It is "" when trace is not valid.
func nextSpan(trace string) string {
	parts := traceparent.FindStringSubmatch(trace)
	if parts == nil {
		return ""
	}
	var span [8]byte
	rand.Read(span[:]) // never fails
	return "00-" + parts[1] + "-" + hex.EncodeToString(span[:]) + "-" + parts[2]
}

// The headers of Standard Webhooks.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

// sign sets the headers of a request. Each secret that is valid at the time signs in both ways:
// v1 is checked with the shared secret, v1a with the public key. While secrets are rotated there
// are two of each, and one match is enough.
//
// The id is the event's, however often it is sent. The time is the attempt's, so that a recorded
// request is too old when somebody sends it again.
func sign(h http.Header, party *events.ThirdParty, id ulid.ULID, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signed := []byte(id.String() + "." + timestamp + ".") // neither part has a full stop
	signed = append(signed, body...)
	var signatures []string
	for _, s := range party.Secrets(at) {
		mac := hmac.New(sha256.New, s.HMAC)
		mac.Write(signed)
		signatures = append(signatures,
			"v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)),
			"v1a,"+base64.StdEncoding.EncodeToString(ed25519.Sign(party.SigningKey(s), signed)))
	}
	h.Set(headerID, id.String())
	h.Set(headerTimestamp, timestamp)
	h.Set(headerSignature, strings.Join(signatures, " "))
}
