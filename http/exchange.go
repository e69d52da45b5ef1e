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
	// mediaMergePatch is RFC 7396's. PATCH treats it like plain JSON.
	mediaMergePatch = "application/merge-patch+json"
	// acceptPatch is the Accept-Patch of every path that has PATCH (RFC 5789, section 3.1).
	acceptPatch = mediaMergePatch + ", " + mediaJSON
)

// exchange is one request and its answer.
type exchange struct {
	*server
	w        http.ResponseWriter
	r        *http.Request
	contract *contract
	id       string    // req_ and a ULID
	at       time.Time // when the request arrived
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
func (s *server) begin(w http.ResponseWriter, r *http.Request, c *contract) *exchange {
	x := &exchange{server: s, w: w, r: r, contract: c, id: publicID("req_", ulid.Make()), at: s.Now()}
	h := w.Header()
	maps.Copy(h, commonHeader)
	h.Set("X-Request-Id", x.id)
	s.origins.share(w, r)
	return x
}

// answer sends body as JSON. An endpoint returns after it.
func (x *exchange) answer(status int, media string, body any) error {
	w := newJSONWriter()
	defer w.free()
	if err := w.encode(body); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	data, h := w.data, x.w.Header()
	h.Set("Content-Type", media)
	if len(data) >= minGzip && acceptsGzip(x.r.Header["Accept-Encoding"]) {
		data = gzipped(data)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	x.w.WriteHeader(status)
	_, _ = x.w.Write(data) // fails only when the caller has gone
	return nil
}

// fail answers an error by the contract's table. An error without a row is a fault
// of konto: fail logs it, once, and answers without details. If the caller has gone,
// that is the reason for the error, and nothing is logged.
func (x *exchange) fail(err error) {
	row := x.contract.errors.find(err)
	if gone := x.r.Context().Err() != nil; row.err == nil && !gone {
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
		"request", x.id, "contract", x.contract.name, "method", x.r.Method, "path", x.r.URL.Path,
	}, args...)...)
}

var actorKinds = map[string]string{
	events.KindKey:     "account",
	events.KindClient:  "client",
	events.KindSession: "session",
}

// metadata returns what the events of this request record about it.
func (x *exchange) metadata() events.Metadata {
	trace, state := events.TraceContext(x.r.Header["Traceparent"], x.r.Header["Tracestate"])
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

// actorID returns the id of the caller's credential, or the caller's name if an
// outside issuer's JWT has no credential here.
func actorID(caller *events.Credential) string {
	if caller.AuthType == authJWT {
		return "jwt:" + caller.Name
	}
	return caller.ID.String()
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
