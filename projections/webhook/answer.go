package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Answer is the result of sending one event to one third party once.
type Answer struct {
	Verdict    Verdict
	Status     int           // of HTTP; 0 when there was none
	Latency    time.Duration // from sending the request to the end of the answer's head
	RetryAfter time.Duration // what the endpoint asked for; 0: nothing
	Excerpt    []byte        // the first bytes of the answer's body, ExcerptSize at most
	Problem    string        // why there was no status, in a few words without personal data or parts of the URL
}

// Verdict is what an answer means for what is sent next.
type Verdict int

// The verdicts.
const (
	Failed    Verdict = iota // to be tried again later
	Delivered                // any 2xx
	Slow                     // 429, 502, 504: to be tried again, with fewer requests at a time from now on
	Aborted                  // webhook-delivery: abort-message; this event is not to be sent again
	Gone                     // 410: nothing is to be sent again
	// Skipped: nothing was sent and nothing ever will be, as Problem says. The format
	// cannot express the event, or the account was erased since and its key is destroyed.
	// The event is done, as if it had been delivered.
	Skipped
	// Unsent: konto itself could not make the request, as Problem says. It is to be tried
	// again soon, and says nothing about the third party.
	Unsent
)

const (
	// headerDelivery is how an endpoint says what is to become of the message.
	headerDelivery = "webhook-delivery"

	// maxRetryAfter bounds how long an endpoint may delay an attempt: the longest delay of
	// the default retry schedule.
	maxRetryAfter = 24 * time.Hour
)

// verdict reads an answer as Standard Webhooks defines it. A redirect is a failure.
func verdict(answer *http.Response) Verdict {
	switch status := answer.StatusCode; {
	case status >= 200 && status < 300:
		return Delivered
	case strings.EqualFold(strings.TrimSpace(answer.Header.Get(headerDelivery)), "abort-message"):
		return Aborted
	case status == http.StatusGone:
		return Gone
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		return Slow
	}
	return Failed
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3): seconds, or a date. It is 0 for
// anything else and for a time that has passed, and maxRetryAfter at most.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0
	}
	if strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.ParseUint(header, 10, 32)
		if err != nil || seconds > uint64(maxRetryAfter/time.Second) { // err: too many digits
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

const (
	// ExcerptSize bounds what is kept of an answer's body, in bytes.
	ExcerptSize = 256

	// bodyLimit bounds what is read of an answer's body, in bytes. A connection is used
	// again only when the whole body was read.
	bodyLimit = 4 << 10
)

// excerpt reads an answer's body, bounded, and returns its beginning as text that is safe
// to show on a terminal. Errors of reading are ignored.
func excerpt(body io.Reader) []byte {
	read, _ := io.ReadAll(io.LimitReader(body, bodyLimit))
	kept := read[:min(len(read), ExcerptSize)]
	if len(kept) < len(read) { // the last character may have been cut in two
		for i := 1; i < utf8.UTFMax && i <= len(kept); i++ {
			if tail := kept[len(kept)-i:]; utf8.RuneStart(tail[0]) {
				if !utf8.FullRune(tail) {
					kept = kept[:len(kept)-i]
				}
				break
			}
		}
	}
	return []byte(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?' // no longer than what it replaces
		}
		return r
	}, string(kept)))
}

// unanswered is the Answer when there was none. Without a free file descriptor konto made no
// request, and the third party is not to blame.
func unanswered(parent context.Context, err error, took time.Duration) Answer {
	a := Answer{Latency: took, Problem: problem(parent, err)}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		a.Verdict = Unsent
	}
	return a
}

// problems are descriptions of errors. The errors' own texts contain the URL, which may have
// a secret in it, or what the endpoint sent.
var problems = []struct {
	err  error
	text string
}{
	{errAddress, errAddress.Error()},
	{errPlain, errPlain.Error()},
	{context.DeadlineExceeded, "timeout"},
	{http.ErrSchemeMismatch, "TLS: endpoint answers without it"},
	{syscall.EMFILE, "konto has too many files open"},
	{syscall.ENFILE, "konto's machine has too many files open"},
	{syscall.ECONNREFUSED, "connection refused"},
	{syscall.ECONNRESET, "connection reset"},
	{syscall.EPIPE, "connection reset"},
	{syscall.EHOSTUNREACH, "host unreachable"},
	{syscall.ENETUNREACH, "network unreachable"},
	{io.EOF, "connection closed"},
	{io.ErrUnexpectedEOF, "connection closed"},
}

// problem describes in a few words why there was no answer. parent is the caller's context,
// whose end is not the endpoint's fault.
func problem(parent context.Context, err error) string {
	if parent.Err() != nil {
		return "interrupted"
	}
	for _, p := range problems {
		if errors.Is(err, p.err) {
			return p.text
		}
	}
	var (
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		alert       tls.AlertError
		record      tls.RecordHeaderError
		network     net.Error
	)
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return "host not found"
	case errors.As(err, &name):
		return "host could not be looked up"
	case errors.As(err, &certificate):
		return "TLS: certificate not valid"
	case errors.As(err, &alert), errors.As(err, &record):
		return "TLS: no handshake"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	return "no HTTP answer"
}
