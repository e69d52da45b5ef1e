package nats

import (
	"context"
	"testing"
	"time"

	watermill "github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections/nats/subjects"
)

const requests = "konto.account.*.EmailChangeRequested"

func (r *fixture) subscribe() (*Subscriber, <-chan *watermill.Message) {
	r.t.Helper()
	s := NewSubscriber(SubscriberConfig{Conn: r.conn, Durable: "konto-mailer", Log: quiet})
	r.t.Cleanup(func() { must(r.t, s.Close()) })
	messages, err := s.Subscribe(context.Background(), requests)
	must(r.t, err)
	return s, messages
}

// request publishes an EmailChangeRequested with another event before it, and returns its id.
func (r *fixture) request(p *Publisher) (id string) {
	r.t.Helper()
	stream := events.AccountStream(ulid.Make())
	r.append(stream, events.ProfileUpdated{FirstName: events.Set("Åsa")}, events.EmailChangeRequested{NewEmail: "a@example.com", Request: ulid.Make()})
	r.follow(p)
	evs, err := r.store.ReadStream(r.t.Context(), stream, 1, 1)
	must(r.t, err)
	return evs[0].ID.String()
}

func next(t *testing.T, messages <-chan *watermill.Message) *watermill.Message {
	t.Helper()
	select {
	case m, ok := <-messages:
		if !ok {
			t.Fatal("messages ended")
		}
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("no message came")
		return nil
	}
}

func TestSubscriberDeliversItsSubjectInOrder(t *testing.T) {
	r := newFixture(t)
	r.start()
	_, messages := r.subscribe() // before the stream is made
	p := r.publisher()
	for range 20 {
		want := r.request(p)
		m := next(t, messages)
		if m.UUID != want || m.Metadata.Get("ce-type") != "konto.account.EmailChangeRequested.v1" {
			t.Fatalf("got %s %v, want %s", m.UUID, m.Metadata, want)
		}
		m.Ack()
	}
}

func TestFailedMessageIsDeliveredAgainAndDelaysNoOther(t *testing.T) {
	r := newFixture(t)
	r.start()
	p := r.publisher()
	first, second := r.request(p), r.request(p)
	_, messages := r.subscribe()
	for i, step := range []struct {
		want string
		ack  bool
	}{{first, false}, {second, true}, {first, true}} {
		m := next(t, messages)
		if m.UUID != step.want {
			t.Fatalf("message %d is %s, want %s", i, m.UUID, step.want)
		}
		if step.ack {
			m.Ack()
		} else {
			m.Nack()
		}
	}
}

func TestSubscriberContinuesWhereItEnded(t *testing.T) {
	r := newFixture(t)
	r.start()
	p := r.publisher()
	r.request(p)
	s, messages := r.subscribe()
	next(t, messages).Ack()
	must(t, s.Close()) // waits until the acknowledgement is sent
	if _, ok := <-messages; ok {
		t.Error("a message came after Close")
	}
	r.stop()
	r.start()
	want := r.request(r.publisher())
	_, messages = r.subscribe()
	if m := next(t, messages); m.UUID != want {
		t.Errorf("message %s, want %s", m.UUID, want)
	} else {
		m.Ack()
	}
}

func TestSubscriberContinuesOnANewStream(t *testing.T) {
	r := newFixture(t)
	r.start()
	p := r.publisher()
	want := r.request(p)
	_, messages := r.subscribe()
	next(t, messages).Ack()
	must(t, r.conn.js.DeleteStream(t.Context(), subjects.Stream))
	r.follow(r.publisher()) // the log has it all
	m := next(t, messages)
	if m.UUID != want {
		t.Errorf("message %s, want %s", m.UUID, want)
	}
	m.Ack()
}

func TestRetryDelaysGrow(t *testing.T) {
	var delays []time.Duration
	for delivered := range uint64(12) {
		delays = append(delays, retryAfter(fakeDelivery{delivered: delivered + 1}))
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120, 120} {
		if delays[i] != want*time.Second {
			t.Errorf("after delivery %d: %v", i+1, delays[i])
		}
	}
}

// fakeDelivery is a message that was delivered some times.
type fakeDelivery struct {
	jetstream.Msg
	delivered uint64
}

func (f fakeDelivery) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{NumDelivered: f.delivered}, nil
}
