package webhook

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"syscall"
	"time"

	"konto/events"
)

const (
	// bodyLimit bounds what is read of an answer's body, in bytes. A connection
	// is used again when the whole body was read.
	bodyLimit = 4 << 10
	// bodyPatience is how long an answer's body is waited for once its head is
	// there, which is all that counts.
	bodyPatience = time.Second
)

// attempt posts a message once.
func (s *Sender) attempt(parent context.Context, party *events.ThirdParty, m message) Answer {
	ctx, cancel := context.WithTimeout(parent, s.Timeout)
	defer cancel()
	r, err := s.request(ctx, party, m)
	if err != nil {
		return Answer{Problem: "URL is not valid"}
	}
	client := &s.secure
	if r.URL.Scheme == "http" {
		client = &s.insecure
	}
	begun := time.Now() // not Config.Now, which may stand still
	answer, err := client.Do(r)
	if err != nil {
		return unanswered(parent, err, time.Since(begun))
	}
	defer answer.Body.Close()
	a := Answer{Status: answer.StatusCode, Latency: time.Since(begun), Verdict: verdict(answer)}
	if a.Verdict != Delivered {
		a.RetryAfter = retryAfter(answer.Header.Get("Retry-After"), s.Now())
	}
	defer time.AfterFunc(bodyPatience, cancel).Stop()
	a.Excerpt = excerpt(answer.Body)
	return a
}

// unanswered is what came of a request without an answer. Without a file
// descriptor to spare none was made, and the third party has no part in it.
func unanswered(parent context.Context, err error, took time.Duration) Answer {
	a := Answer{Latency: took, Problem: problem(parent, err)}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		a.Verdict = Unsent
	}
	return a
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
	if trace := continued(m.trace); trace != "" {
		r.Header.Set("traceparent", trace)
		if m.state != "" {
			r.Header.Set("tracestate", m.state)
		}
	}
	sign(r.Header, party, m.id, s.Now(), m.body)
	return r, nil
}
