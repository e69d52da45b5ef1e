package http

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/events/tracing"
)

const (
	mediaJSON    = "application/json"
	mediaProblem = "application/problem+json"
	// mediaMergePatch is RFC 7396's. PATCH treats it like plain JSON.
	mediaMergePatch = "application/merge-patch+json"
	// acceptPatch is the Accept-Patch of every path that has PATCH (RFC 5789, section 3.1).
	acceptPatch = mediaMergePatch + ", " + mediaJSON
)

// exchange is one request and its answer.
type exchange struct {
	*server
	w        http.ResponseWriter // &sent
	sent     sent
	r        *http.Request
	contract *contract
	counted  *counted
	streams  bool          // the answer takes as long as the caller wants
	span     *tracing.Span // nil unless traces are exported
	id       string        // req_ and a ULID
	began    time.Time     // when the request arrived
	at       time.Time     // the same, or for a replay when the first one arrived
	caller   events.Credential
	body     []byte // set by readBody
}

// commonHeader is part of every answer. All answers share its values, so they may
// be replaced, but never modified.
var commonHeader = http.Header{
	"X-Content-Type-Options":  {"nosniff"},
	"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"}, // answers are data, not pages
	"Referrer-Policy":         {"no-referrer"},
	"Cache-Control":           {"private, no-store"}, // an answer holds one account's personal data
	"Vary":                    {"Accept, Accept-Encoding"},
}

// begin makes the exchange of a request and sets the headers that every answer has.
func (s *server) begin(w http.ResponseWriter, r *http.Request, c *contract, counted *counted) *exchange {
	now := s.Now()
	x := &exchange{
		server: s, sent: sent{ResponseWriter: w}, r: r, contract: c, counted: counted,
		id: publicID("req_", ulid.Make()), began: now, at: now,
	}
	x.w = &x.sent
	x.beginSpan()
	h := w.Header()
	maps.Copy(h, commonHeader)
	h.Set("X-Request-Id", x.id)
	if s.Draining() {
		// The caller closes the connection when it has this answer. If konto closed it later, the
		// caller could be sending the next request.
		h.Set("Connection", "close")
	}
	s.origins.share(w, r)
	return x
}

// fail answers an error by the contract's table. An error without a row is a fault
// of konto: fail logs it, once, and answers without details. It also logs why tries
// cannot be counted, because nothing else does. If the caller has gone, that is the
// reason for the error, and nothing is logged.
func (x *exchange) fail(err error) {
	x.metrics.countRefusal(x.contract.name, err)
	row := x.contract.errors.find(err)
	fault := row.err == nil || row.err == commands.ErrUnavailable || row.err == errBehind
	if gone := x.r.Context().Err() != nil; fault && !gone {
		x.log("request failed", "error", err)
	}
	var tooMany *commands.TooMany
	if errors.As(err, &tooMany) {
		setTooManyHeaders(x.w.Header(), tooMany, x.at)
	}
	if row.status == http.StatusUnauthorized {
		x.w.Header().Set("WWW-Authenticate", x.contract.challenge(err))
	}
	if err := x.answer(row.status, x.contract.media, x.contract.render(x, row, err)); err != nil {
		x.log("error could not be answered", "error", err)
		x.w.WriteHeader(http.StatusInternalServerError) // otherwise net/http would answer 200
	}
}

// recover answers a panic with the contract's 500.
func (x *exchange) recover() {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler { // this panic tells net/http to cut the connection
		panic(cause)
	}
	// Only the runtime's own messages certainly hold no data of the request.
	text := fmt.Sprintf("%T", cause)
	if e, ok := cause.(runtime.Error); ok {
		text = e.Error()
	}
	x.log("request panicked", "panic", text, "stack", string(debug.Stack()))
	row := x.contract.errors.find(errPanic)
	_ = x.answer(row.status, x.contract.media, x.contract.render(x, row, errPanic))
}

// log logs an error of the request, without its body, query or headers.
func (x *exchange) log(message string, args ...any) {
	x.Log.Error(message, append([]any{
		"request", x.id, "contract", x.contract.name, "method", x.r.Method, "route", x.counted.route,
	}, args...)...)
}

var actorKinds = map[string]string{
	events.KindKey:     "account",
	events.KindClient:  "client",
	events.KindSession: "session",
	events.KindAdmin:   "admin",
}

// metadata returns what the events of this request record about it.
func (x *exchange) metadata() events.Metadata {
	trace, state := x.trace()
	return events.Metadata{
		RequestID:    x.id,
		Actor:        events.Actor{Kind: actorKinds[x.caller.Kind], ID: actorID(&x.caller)},
		Impersonator: x.caller.Admin,
		Grant:        x.caller.Grant,
		Contract:     x.contract.name,
		Trace:        trace,
		TraceState:   state,
	}
}

// actorID returns the id of the caller's credential. The caller of an outside issuer's
// JWT has no credential here, so it is the client's name, or the account's id. It is
// never an account holder's name, which may be an email address.
func actorID(caller *events.Credential) string {
	switch {
	case caller.AuthType != authJWT:
		return caller.ID.String()
	case caller.Kind == events.KindClient:
		return "jwt:" + caller.Name
	}
	return "jwt:" + caller.Account.String()
}

// publicID returns the prefix and the ULID in lower case.
func publicID(prefix string, id ulid.ULID) string {
	text := make([]byte, len(prefix)+ulid.EncodedSize)
	copy(text, prefix)
	_ = id.MarshalTextTo(text[len(prefix):]) // fails only if the buffer has another size
	for i := len(prefix); i < len(text); i++ {
		if c := text[i]; 'A' <= c && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
	return string(text)
}

// maxIdempotencyKey is the longest Idempotency-Key, in characters.
const maxIdempotencyKey = 255

// do runs a command on an account, once for each Idempotency-Key of the credential.
// If the request was executed before, do returns the outcome of that time. Every
// endpoint that changes an account calls do and never Accounts.Do. Its answer must
// depend only on the outcome, the body, x.caller and x.at, so that a replay gives
// the same answer.
func (x *exchange) do(id ulid.ULID, c commands.Command) (commands.Outcome, error) {
	once, err := x.once()
	if err != nil {
		return commands.Outcome{}, err
	}
	out, err := x.Accounts.DoOnce(x.r.Context(), id, x.metadata(), once, c)
	if out.Replayed {
		x.w.Header().Set("Idempotent-Replayed", "true")
		x.at = out.At // the answer may contain the time, or what had expired then
	}
	return out, err
}

// act runs a command on the caller's account and answers with the account after it.
func (x *exchange) act(c commands.Command) error {
	out, err := x.do(x.caller.Account, c)
	if err != nil {
		return err
	}
	return x.answerAt(out.Account.Version, x.contract.show(x, out.Account))
}

// once returns the name of the request for its Idempotency-Key. Without the header
// it returns no name.
func (x *exchange) once() (commands.Once, error) {
	values := x.r.Header["Idempotency-Key"]
	if len(values) == 0 {
		return commands.Once{}, nil
	}
	if len(values) > 1 || !isIdempotencyKey(values[0]) {
		return commands.Once{}, errIdempotencyKey
	}
	return commands.Once{
		Name:        x.caller.ID.String() + " " + values[0],
		Fingerprint: x.fingerprint(),
		At:          x.at,
	}, nil
}

// fingerprint hashes all that the request asks for, byte by byte. The same JSON with
// other white space is another request.
func (x *exchange) fingerprint() (sum [sha256.Size]byte) {
	h := sha256.New()
	conditions := strings.Join(x.r.Header["If-Match"], ",")
	// Without the header nothing is added, so that receipts of earlier builds, which
	// ignored the header, are still found.
	if values := x.r.Header["If-None-Match"]; len(values) > 0 {
		conditions += "\n" + strings.Join(values, ",")
	}
	for _, part := range []string{x.r.Method, x.r.URL.RequestURI(), conditions} {
		h.Write([]byte(part))
		h.Write([]byte{0}) // none of them can contain it
	}
	h.Write(x.body)
	h.Sum(sum[:0])
	return sum
}

// isIdempotencyKey accepts 1 to 255 printable ASCII characters.
func isIdempotencyKey(key string) bool {
	unprintable := func(c rune) bool { return c < ' ' || c > '~' }
	return key != "" && len(key) <= maxIdempotencyKey && !strings.ContainsFunc(key, unprintable)
}
