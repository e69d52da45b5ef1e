package http

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
)

const (
	mediaJSON    = "application/json"
	mediaProblem = "application/problem+json"
	// mediaMergePatch is RFC 7396's. PATCH takes it as it takes plain JSON.
	mediaMergePatch = "application/merge-patch+json"
	// acceptPatch is the Accept-Patch of all that takes PATCH (RFC 5789, section 3.1).
	acceptPatch = mediaMergePatch + ", " + mediaJSON
)

// exchange is one request and its answer.
type exchange struct {
	*server
	w        http.ResponseWriter
	r        *http.Request
	contract *contract
	id       string    // req_ and a ULID
	at       time.Time // when the request was taken up
	who      events.Credential
	body     []byte // as jsonBody read it
}

// usualHeader is every answer's. Its values are shared: they are replaced or
// added to, never written into.
var usualHeader = http.Header{
	"X-Content-Type-Options":  {"nosniff"},
	"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"}, // answers are data, not pages
	"Referrer-Policy":         {"no-referrer"},
	"Cache-Control":           {"private, no-store"}, // every answer holds one account's personal data
	"Vary":                    {"Accept, Accept-Encoding"},
}

func (s *server) begin(w http.ResponseWriter, r *http.Request, c *contract) *exchange {
	x := &exchange{server: s, w: w, r: r, contract: c, id: publicID("req_", ulid.Make()), at: s.Now()}
	h := w.Header()
	maps.Copy(h, usualHeader)
	h.Set("X-Request-Id", x.id)
	s.origins.share(w, r)
	return x
}

// answer sends body as JSON. The endpoint is done afterwards.
func (x *exchange) answer(status int, media string, body any) error {
	o := newObject()
	defer o.free()
	if err := o.encode(body); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	data, h := o.data, x.w.Header()
	h.Set("Content-Type", media)
	if len(data) >= minGzip && takesGzip(x.r.Header["Accept-Encoding"]) {
		data = gzipped(data)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	x.w.WriteHeader(status)
	_, _ = x.w.Write(data) // fails only when the caller has gone
	return nil
}

// fail answers an error as the contract's table has it. What the table does
// not know is konto's own failure: it is logged here, once, and answered
// blandly. When the caller has gone, that is the failure, and nobody's to log.
func (x *exchange) fail(err error) {
	row := x.contract.errors.find(err)
	if gone := x.r.Context().Err() != nil; row.err == nil && !gone {
		x.log("request failed", "error", err)
	}
	var tooMany *commands.TooMany
	if errors.As(err, &tooMany) {
		tellTooMany(x.w.Header(), tooMany, x.at)
	}
	if row.status == http.StatusUnauthorized {
		x.w.Header().Set("WWW-Authenticate", x.contract.challenge(err))
	}
	if err := x.answer(row.status, x.contract.media, x.contract.render(x, row, err)); err != nil {
		x.log("error could not be answered", "error", err)
		x.w.WriteHeader(http.StatusInternalServerError) // else net/http would say 200
	}
}

// recover turns a panic into the contract's 500.
func (x *exchange) recover() {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler { // net/http's way to cut a connection
		panic(cause)
	}
	// Only the runtime's own messages are known to hold nothing of the request.
	text := fmt.Sprintf("%T", cause)
	if e, ok := cause.(runtime.Error); ok {
		text = e.Error()
	}
	x.log("request panicked", "panic", text, "stack", string(debug.Stack()))
	row := x.contract.errors.find(errPanic)
	_ = x.answer(row.status, x.contract.media, x.contract.render(x, row, errPanic))
}

// log says what went wrong with the request, without its body, query or headers.
func (x *exchange) log(message string, args ...any) {
	x.Log.Error(message, append([]any{
		"request", x.id, "contract", x.contract.name, "method", x.r.Method, "path", x.r.URL.Path,
	}, args...)...)
}

var actorKinds = map[string]string{
	events.KindKey:     "account",
	events.KindClient:  "client",
	events.KindSession: "session",
}

// metadata is what the events that this request causes remember of it.
func (x *exchange) metadata() events.Metadata {
	trace, state := events.TraceContext(x.r.Header["Traceparent"], x.r.Header["Tracestate"])
	return events.Metadata{
		RequestID:    x.id,
		Actor:        events.Actor{Kind: actorKinds[x.who.Kind], ID: actorID(&x.who)},
		Impersonator: x.who.Admin,
		Grant:        x.who.Grant,
		Contract:     x.contract.name,
		Trace:        trace,
		TraceState:   state,
	}
}

// actorID names the caller's credential, or else the caller.
func actorID(who *events.Credential) string {
	if who.AuthType == authJWT {
		return "jwt:" + who.Name
	}
	return who.ID.String()
}

// publicID is a prefix and the lower-case ULID.
func publicID(prefix string, id ulid.ULID) string {
	text := make([]byte, len(prefix)+ulid.EncodedSize)
	copy(text, prefix)
	_ = id.MarshalTextTo(text[len(prefix):]) // fails only when the room is of another size
	for i := len(prefix); i < len(text); i++ {
		if c := text[i]; 'A' <= c && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
	return string(text)
}
