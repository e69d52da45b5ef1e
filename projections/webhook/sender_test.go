package webhook

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"konto/events"
)

func TestVerdictsOfAnswers(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	s := h.sender()
	for _, test := range []struct {
		status          int
		delivery, after string
		verdict         Verdict
		wait            time.Duration
	}{
		{200, "", "", Delivered, 0}, {202, "", "", Delivered, 0}, {204, "", "7", Delivered, 0}, {299, "abort-message", "", Delivered, 0},
		{400, "", "", Failed, 0}, {404, "", "", Failed, 0}, {500, "", "", Failed, 0}, {304, "", "", Failed, 0},
		{503, "", "120", Failed, 2 * time.Minute}, {429, "", "9", Slow, 9 * time.Second}, {502, "", "", Slow, 0}, {504, "", "", Slow, 0},
		{410, "", "", Gone, 0},
		{400, "abort-message", "", Aborted, 0}, {429, " Abort-Message ", "", Aborted, 0}, {410, "abort-message", "", Aborted, 0},
		{400, "something-else", "", Failed, 0},
	} {
		url, got := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range map[string]string{"webhook-delivery": test.delivery, "Retry-After": test.after} {
				if value != "" {
					w.Header().Set(name, value)
				}
			}
			w.WriteHeader(test.status)
		})
		a := s.Send(t.Context(), party(events.FormatCloudEvents, url), e)
		if a.Verdict != test.verdict || a.Status != test.status || a.RetryAfter != test.wait || a.Problem != "" || a.Latency <= 0 || len(got) != 1 {
			t.Errorf("%+v: %+v, after %d requests", test, a, len(got))
		}
	}
}

func TestRetryAfterIsBounded(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"0": 0, "30": 30 * time.Second, " 30 ": 30 * time.Second, "86400": 24 * time.Hour, "86401": 24 * time.Hour,
		"99999999999999999999999999": 24 * time.Hour, "-5": 0, "1.5": 0, "soon": 0, "": 0,
		"Mon, 22 Mar 2021 14:11:07 GMT": 10*time.Minute - 737*time.Millisecond, "Mon, 22 Mar 2021 13:00:00 GMT": 0,
		"Mon, 22 Mar 2221 13:00:00 GMT": 24 * time.Hour,
	} {
		if got := retryAfter(header, opened); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestRequestHasTheHeadersOfItsFormat(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	s := h.sender()
	url, got := endpoint(t, status(200))
	for format, media := range map[string]string{
		events.FormatCloudEvents: "application/cloudevents+json", events.FormatPayway: "application/json",
		events.FormatPaywaySSI: "application/json", events.FormatRISC: "application/secevent+jwt",
	} {
		s.Send(t.Context(), party(format, url), e)
		r := <-got
		if r.header.Get("Content-Type") != media || r.header.Get("User-Agent") != "konto" || r.header.Get("Accept-Encoding") != "" {
			t.Errorf("%s: %s", format, r.header)
		}
		if accept := r.header.Get("Accept"); (accept == "application/json") != (format == events.FormatRISC) { // RFC 8935, section 2.1
			t.Errorf("%s accepts %q", format, accept)
		}
	}
}

func TestTraceContinuesInTheRequest(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	s := h.sender()
	url, got := endpoint(t, status(200))
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for parent, goesOn := range map[string]bool{
		"00-" + trace + "-" + span + "-01": true, "": false, "00-" + trace + "-01": false,
		"ff-" + trace + "-" + span + "-01": false, "00-" + trace + "-" + span + "-01\r\nx: y": false,
	} {
		e.Metadata.Trace, e.Metadata.TraceState = parent, "congo=t6"
		s.Send(t.Context(), party(events.FormatPayway, url), e)
		header := (<-got).header
		next := header.Get("traceparent")
		if goesOn != traceparent.MatchString(next) || strings.Contains(next, span) || goesOn != strings.Contains(next, "-"+trace+"-") {
			t.Errorf("after %q comes %q", parent, next)
		}
		if state := header.Get("tracestate"); goesOn != (state == "congo=t6") {
			t.Errorf("after %q comes the state %q", parent, state)
		}
	}
}

func TestInterruptedRequestIsReported(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	s := h.sender()
	ctx, cancel := context.WithCancel(t.Context())
	url, _ := endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	for range 2 { // under way, and before
		if a := s.Send(ctx, party(events.FormatPayway, url), e); a.Verdict != Failed || a.Problem != "interrupted" {
			t.Errorf("%+v", a)
		}
	}
}

func TestBodyDoesNotChangeTheVerdict(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	s := h.sender()
	for name, endless := range map[string]http.HandlerFunc{
		"hangs": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "thanks")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"never ends": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("thanks", 1000)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := endpoint(t, endless)
			begun := time.Now()
			a := s.Send(t.Context(), party(events.FormatPayway, url), e)
			if a.Verdict != Delivered || !strings.HasPrefix(string(a.Excerpt), "thanks") || len(a.Excerpt) > ExcerptSize {
				t.Errorf("%+v", a)
			}
			if took := time.Since(begun); took > defaultTimeout/2 {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// One third party of many on one host hangs.
func TestHangingEndpointDoesNotSlowOthersOnItsHost(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	h.cfg.Timeout = time.Hour // on a machine that is busy too, all of them arrive
	s := h.sender()
	const many = 60
	arrived := make(chan struct{}, many)
	url, _ := endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			arrived <- struct{}{}
			<-r.Context().Done()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var hanging sync.WaitGroup
	for range many {
		hanging.Go(func() { s.Send(ctx, party(events.FormatPayway, url+"/hangs"), e) })
	}
	for range many {
		<-arrived
	}
	if a := s.Send(t.Context(), party(events.FormatPayway, url+"/works"), e); a.Verdict != Delivered {
		t.Errorf("%+v", a)
	}
	cancel()
	hanging.Wait()
}

func TestRepetitionsHaveTheSameBody(t *testing.T) {
	h := newHarness(t)
	e := h.changed()
	now := opened
	h.cfg.Now = func() time.Time { now = now.Add(time.Hour); return now }
	s := h.sender()
	url, got := endpoint(t, status(500))
	for _, format := range formats {
		s.Send(t.Context(), party(format, url), e)
		s.Send(t.Context(), party(format, url), e)
		first, second := <-got, <-got
		if !bytes.Equal(first.body, second.body) || first.header.Get("webhook-id") != second.header.Get("webhook-id") {
			t.Errorf("%s: %s\n%s", format, first.body, second.body)
		}
		if first.header.Get("webhook-timestamp") == second.header.Get("webhook-timestamp") {
			t.Errorf("%s: the attempts have one time", format)
		}
	}
}

func TestNewSenderRejectsIncompleteConfigurations(t *testing.T) {
	good := newHarness(t).cfg
	for name, change := range map[string]func(*Config){
		"no accounts":        func(c *Config) { c.Accounts = nil },
		"no key":             func(c *Config) { c.TokenKey = nil },
		"a negative timeout": func(c *Config) { c.Timeout = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewSender(cfg); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	if s, err := NewSender(Config{Accounts: good.Accounts, TokenKey: good.TokenKey}); err != nil || s.Timeout != 15*time.Second || s.Issuer != "konto" {
		t.Errorf("defaults: %+v, %v", s, err)
	}
}
