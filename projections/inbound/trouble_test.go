package inbound

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"konto/projections/nats"
)

func TestMessageThatMakesKontoPanicIsRefusedInTheEnd(t *testing.T) {
	const body = `{"account":"canary@example.com","verified":true}`
	for panics, want := range map[int]struct {
		recorded int
		refused  string
	}{
		maxPanics - 1: {1, "[]"},
		maxPanics:     {0, "[7 konto cannot handle it]"},
	} {
		var log strings.Builder
		d := fakes{panics: panics}
		r := New(Config{Recorder: &d, DeadLetters: &d, Log: slog.New(slog.NewTextHandler(&log, nil))})
		var err error
		for range maxPanics {
			if err = r.handle(fact(body)); err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("error quotes the panic's value: %v", err)
			}
		}
		if err != nil || len(d.recorded) != want.recorded || fmt.Sprint(d.refused) != want.refused {
			t.Errorf("after %d panics: recorded %v, refused %v, %v", panics, d.recorded, d.refused, err)
		}
		if said := log.String(); strings.Contains(said, "canary") || strings.Count(said, "handling of facts panicked") != panics || !strings.Contains(said, "kind=string") {
			t.Errorf("logged %s", said)
		}
	}
}

func TestPanicsOverOneMessageAreNotCountedForAnother(t *testing.T) {
	d := fakes{panics: 2 * (maxPanics - 1)}
	r := New(Config{Recorder: &d, DeadLetters: &d, Log: slog.New(slog.DiscardHandler)})
	for _, sequence := range []string{"7", "8"} {
		m := fact(`{"account":"a@example.com","verified":true}`)
		m.Metadata.Set(nats.MetaSequence, sequence)
		for range maxPanics - 1 {
			if err := r.handle(m); err == nil {
				t.Fatal("was acknowledged")
			}
		}
	}
	if len(d.refused) != 0 {
		t.Errorf("refused %v", d.refused)
	}
}

func TestRefusalsDoNotFillTheLog(t *testing.T) {
	var log strings.Builder
	d := fakes{}
	r := New(Config{Recorder: &d, DeadLetters: &d, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 100 {
		if err := r.handle(fact(`{`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.handle(fact(`{"verified":true}`)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "\n"); n != 2 || len(d.refused) != 101 {
		t.Errorf("%d lines for %d refusals", n, len(d.refused))
	}
}
