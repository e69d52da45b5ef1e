package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"konto/events"
	"konto/projections/nats"
)

const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func fact(body string) *message.Message {
	m := message.NewMessage("7", []byte(body))
	m.Metadata.Set(nats.MetaSubject, "konto.inbound.facts.registry")
	m.Metadata.Set(nats.MetaSequence, "7")
	m.Metadata.Set(nats.MetaTime, "2026-11-22T10:00:00Z")
	return m
}

func TestReadTakesEveryFact(t *testing.T) {
	m := fact(`{"account":"anna@example.com","activeDomains":2,"seNuDomains":0,"pendingOrder":null,"verified":false,"bankidName":"Anna"}`)
	m.Metadata.Set("traceparent", trace)
	m.Metadata.Set("Tracestate", "congo=t6") // as a client may write it that uses HTTP's names
	got, err := read(m)
	if err != nil {
		t.Fatal(err)
	}
	want := events.FactsRecorded{ActiveDomains: new(2), SeNuDomains: new(0), Verified: new(false),
		PendingOrder: events.Clear[string](), BankIDName: events.Set("Anna")}
	if !reflect.DeepEqual(got.Facts, want) || got.Account != "anna@example.com" || got.From != "registry" || got.Trace != trace || got.TraceState != "congo=t6" {
		t.Errorf("got %+v", got)
	}
	for _, broken := range []string{"", trace + "0", strings.ToUpper(trace), "ff" + trace[2:], "00-" + strings.Repeat("0", 32) + trace[35:]} {
		m.Metadata.Set("traceparent", broken)
		if got, err := read(m); err != nil || got.Trace != "" {
			t.Errorf("trace %q: %q, %v", broken, got.Trace, err)
		}
	}
}

// refusals are bodies that can never be recorded, and what is said of them.
var refusals = map[string]struct{ body, reason string }{
	"no body":            {``, "the body is not valid JSON"},
	"no JSON":            {`canary`, "the body is not valid JSON"},
	"cut off":            {`{"account":"canary"`, "the body is not valid JSON"},
	"two objects":        {`{"account":"canary","verified":true}{}`, "the body is not valid JSON"},
	"invalid UTF-8":      {"{\"account\":\"canary\xff\",\"verified\":true}", "the body is not valid JSON"},
	"an array":           {`["canary"]`, "the body is not an object of facts"},
	"nothing":            {`null`, "no account is named"},
	"no account":         {`{"verified":true}`, "no account is named"},
	"empty account":      {`{"account":"","verified":true}`, "no account is named"},
	"account null":       {`{"account":null,"verified":true}`, "the value of /account has the wrong type"},
	"account a number":   {`{"account":7,"verified":true}`, "the value of /account has the wrong type"},
	"no fact":            {`{"account":"canary"}`, "no fact is given"},
	"unknown member":     {`{"account":"canary","canary":1,"verified":true}`, "a member is unknown"},
	"other case":         {`{"account":"canary","Verified":true}`, "a member is unknown"},
	"member twice":       {`{"account":"canary","verified":true,"verified":false}`, "a member is there twice"},
	"count as text":      {`{"account":"canary","activeDomains":"canary"}`, "the value of /activeDomains has the wrong type"},
	"count a fraction":   {`{"account":"canary","activeDomains":1.5}`, "the value of /activeDomains has the wrong type"},
	"count null":         {`{"account":"canary","seNuDomains":null}`, "the value of /seNuDomains has the wrong type"},
	"count out of range": {`{"account":"canary","seNuDomains":99999999999999999999}`, "the value of /seNuDomains has the wrong type"},
	"verified null":      {`{"account":"canary","verified":null}`, "the value of /verified has the wrong type"},
	"verified a text":    {`{"account":"canary","verified":"canary"}`, "the value of /verified has the wrong type"},
	"order a number":     {`{"account":"canary","pendingOrder":4711}`, "the value of /pendingOrder has the wrong type"},
	"order empty":        {`{"account":"canary","pendingOrder":" "}`, "the value of /pendingOrder has the wrong type"},
	"name an object":     {`{"account":"canary","bankidName":{"canary":1}}`, "the value of /bankidName has the wrong type"},
	"too long":           {`{"account":"canary","bankidName":"` + strings.Repeat("a", maxBody) + `"}`, "the body is longer than 65536 bytes"},
}

func TestReadRefusesWithoutQuoting(t *testing.T) {
	for name, test := range refusals {
		t.Run(name, func(t *testing.T) {
			_, err := read(fact(test.body))
			var refused *Refused
			if !errors.As(err, &refused) || refused.Reason != test.reason {
				t.Fatalf("got %v, want %s", err, test.reason)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("quotes the message: %v", err)
			}
		})
	}
}

func TestNamesAreUnique(t *testing.T) {
	name := func(from string, headers ...string) string {
		m := fact(`{"account":"a@example.com","verified":true}`)
		m.Metadata.Set(nats.MetaSubject, "konto.inbound.facts."+from)
		for i := 0; i < len(headers); i += 2 {
			m.Metadata.Set(headers[i], headers[i+1])
		}
		got, err := read(m)
		if err != nil {
			t.Fatal(err)
		}
		return got.Name
	}
	names := []string{
		name("registry"),
		name("registry", nats.MetaSequence, "8"),
		name("registry", nats.MetaTime, "2026-11-22T10:00:01Z"), // of a stream that was made again
		name("billing"),
		name("registry", "ce-id", "1"),
		name("billing", "ce-id", "1"),
		name("registry", "ce-id", "1", "ce-source", "/a"),
		name("registry", "ce-id", `a" "1`),
		name("registry", "ce-id", "1", "ce-source", `" "a`),
		name("registry", "Nats-Msg-Id", "1"),
		name("registry", "Nats-Msg-Id", "ce 1"),
	}
	seen := map[string]bool{}
	for i, n := range names {
		if seen[n] {
			t.Errorf("name %d is another message's: %s", i, n)
		}
		seen[n] = true
	}
	if a, b := name("registry", "ce-id", "1"), name("registry", "ce-id", "1", nats.MetaSequence, "9", "Nats-Msg-Id", "5"); a != b {
		t.Errorf("sent again it is %s, not %s", b, a)
	}
}

// fakes is a recorder and a store of dead letters. Each may fail.
type fakes struct {
	panics   int // how often it panics first
	recorded []Message
	refused  []string
	record   error
	store    error
}

func (d *fakes) RecordFacts(_ context.Context, m Message) error {
	if d.panics--; d.panics >= 0 {
		panic("canary " + m.Account)
	}
	if d.record == nil {
		d.recorded = append(d.recorded, m)
	}
	return d.record
}

func (d *fakes) StoreDeadLetter(_ context.Context, sequence uint64, reason string) error {
	if d.store == nil {
		d.refused = append(d.refused, fmt.Sprint(sequence, " ", reason))
	}
	return d.store
}

var errAway = errors.New("away")

func TestEveryMessageIsRecordedRefusedOrDeliveredAgain(t *testing.T) {
	const good, bad = `{"account":"a@example.com","verified":true}`, `canary`
	tests := map[string]struct {
		body     string
		fakes    fakes
		fails    bool
		recorded int
		refused  string
	}{
		"recorded":                   {body: good, recorded: 1},
		"store away":                 {body: good, fakes: fakes{record: errAway}, fails: true},
		"refused":                    {body: good, fakes: fakes{record: fmt.Errorf("x: %w", &Refused{"there is no such account"})}, refused: "[7 there is no such account]"},
		"misfit":                     {body: bad, refused: "[7 the body is not valid JSON]"},
		"misfit that is not refused": {body: bad, fakes: fakes{store: errAway}, fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			d := test.fakes
			r := New(Config{Recorder: &d, DeadLetters: &d, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err := r.handle(fact(test.body)); (err != nil) != test.fails {
				t.Errorf("got %v", err)
			}
			if test.refused == "" {
				test.refused = "[]"
			}
			if len(d.recorded) != test.recorded || fmt.Sprint(d.refused) != test.refused {
				t.Errorf("recorded %v, refused %v", d.recorded, d.refused)
			}
			if strings.Contains(log.String(), "canary") || strings.Contains(log.String(), "a@example") {
				t.Errorf("logged %s", log.String())
			}
		})
	}
}
