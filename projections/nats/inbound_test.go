package nats

import (
	"context"
	"testing"
	"time"

	watermill "github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

// inbound makes the streams of inbound facts.
func (r *fixture) inbound() *Inbound {
	r.t.Helper()
	i := NewInbound(r.conn, nil, quiet)
	must(r.t, i.Open(r.t.Context()))
	return i
}

// facts subscribes as konto's reactor does.
func (r *fixture) facts(i *Inbound) (*Subscriber, <-chan *watermill.Message) {
	r.t.Helper()
	s := i.Subscriber()
	r.t.Cleanup(func() { must(r.t, s.Close()) })
	messages, err := s.Subscribe(context.Background(), subjects.Inbound)
	must(r.t, err)
	return s, messages
}

func (r *fixture) waiting() uint64 {
	r.t.Helper()
	s, err := r.conn.js.Stream(r.t.Context(), subjects.FactsStream)
	must(r.t, err)
	return s.CachedInfo().State.Msgs
}

func TestFailedFactDelaysThoseBehindIt(t *testing.T) {
	r := started(t)
	_, messages := r.facts(r.inbound())
	c := r.sender("registry")
	for _, body := range []string{"first", "second"} {
		_, err := r.conn.js.Publish(t.Context(), c.subject, []byte(body))
		must(t, err)
	}
	for i, step := range []struct {
		want string
		ack  bool
	}{{"first", false}, {"first", false}, {"first", true}, {"second", true}} {
		m := next(t, messages)
		if step.ack {
			m.Ack()
		} else {
			m.Nack()
		}
		if string(m.Payload) != step.want {
			t.Fatalf("message %d is %s, want %s", i, m.Payload, step.want)
		}
	}
}

func TestFactsWaitForTheSubscriberAndAreDeletedOnceHandled(t *testing.T) {
	r := started(t)
	i := r.inbound()
	c := r.sender("registry")
	for _, body := range []string{"first", "second"} {
		_, err := r.conn.js.Publish(t.Context(), c.subject, []byte(body))
		must(t, err)
	}
	if waiting, dead, err := i.Count(t.Context()); err != nil || waiting != 2 || dead != 0 {
		t.Errorf("%d facts wait, %d dead letters, %v", waiting, dead, err)
	}
	s, messages := r.facts(i)
	next(t, messages).Ack()
	must(t, s.Close()) // the second one may be on its way by now
	s, messages = r.facts(i)
	m := next(t, messages)
	if waiting, err := s.Waiting(t.Context()); err != nil || waiting != 1 {
		t.Errorf("%d facts are not acknowledged, %v", waiting, err)
	}
	m.Ack()
	if string(m.Payload) != "second" {
		t.Fatalf("got %s", m.Payload)
	}
	for deadline := time.Now().Add(patience); ; {
		waiting, _, err := i.Count(t.Context())
		must(t, err)
		if waiting == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d handled facts are kept", waiting)
		}
	}
}

func TestInboundStreamsAreChangedToWhatKontoNeeds(t *testing.T) {
	r := started(t)
	i := r.inbound()
	shape := func(name string) jetstream.StreamConfig {
		s, err := r.conn.js.Stream(t.Context(), name)
		must(t, err)
		return s.CachedInfo().Config
	}
	check := func() {
		t.Helper()
		facts, dead := shape(subjects.FactsStream), shape(subjects.DeadLettersStream)
		if facts.Retention != jetstream.WorkQueuePolicy || facts.Discard != jetstream.DiscardNew || facts.MaxBytes != maxWaiting ||
			facts.MaxMsgsPerSubject != maxWaitingOfOne || !facts.DiscardNewPerSubject || facts.MaxMsgSize != maxFact || facts.MaxAge != 0 || facts.Storage != jetstream.FileStorage || facts.Duplicates != 0 {
			t.Errorf("facts: %+v", facts)
		}
		if dead.Retention != jetstream.LimitsPolicy || dead.MaxAge != deadFor || dead.MaxBytes != maxDead || dead.Storage != jetstream.FileStorage {
			t.Errorf("dead letters: %+v", dead)
		}
	}
	check()
	for _, name := range []string{subjects.FactsStream, subjects.DeadLettersStream} {
		changed := shape(name)
		changed.MaxAge, changed.MaxBytes, changed.Discard, changed.Duplicates = time.Minute, 1000, jetstream.DiscardOld, time.Minute
		changed.MaxMsgsPerSubject, changed.DiscardNewPerSubject, changed.MaxMsgSize = -1, false, -1
		_, err := r.conn.js.UpdateStream(t.Context(), changed)
		must(t, err)
	}
	must(t, i.Open(t.Context()))
	check()
	// The subscriber makes them again, as after JetStream's files were lost.
	_, messages := r.facts(i)
	must(t, r.conn.js.DeleteStream(t.Context(), subjects.DeadLettersStream))
	must(t, r.conn.js.DeleteStream(t.Context(), subjects.FactsStream))
	c := r.sender("registry")
	for deadline := time.Now().Add(patience); ; {
		_, err := r.conn.js.Publish(t.Context(), c.subject, []byte("here"))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	next(t, messages).Ack()
	check()
}

// Different messages may have the same id. None is dropped for it.
func TestNoMessageIsDroppedForItsID(t *testing.T) {
	r := started(t)
	_, messages := r.facts(r.inbound())
	for _, test := range []struct{ sender, body string }{{"registry", "a"}, {"billing", "b"}, {"registry", "c"}} {
		ack, err := r.conn.js.Publish(t.Context(), r.sender(test.sender).subject, []byte(test.body), jetstream.WithMsgID("1"))
		must(t, err)
		if ack.Duplicate {
			t.Errorf("%s was dropped", test.body)
		}
		m := next(t, messages)
		m.Ack()
		if string(m.Payload) != test.body {
			t.Errorf("got %s, want %s", m.Payload, test.body)
		}
	}
}
