package nats

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	watermill "github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// senderOf knows every sender NAME by its token "inbound-NAME".
func senderOf(token string) (Holder, bool) {
	name, ok := strings.CutPrefix(token, "inbound-")
	return Holder{Name: name, Key: "key-inbound-" + name}, ok
}

// open makes the streams of inbound facts.
func (r *room) inbound() *Inbound {
	r.t.Helper()
	i := NewInbound(r.conn, nil, quiet)
	must(r.t, i.Open(r.t.Context()))
	return i
}

// sender connects as a system that sends facts does.
func (r *room) sender(t *testing.T, name string) *consumer {
	t.Helper()
	c := &consumer{t: t, refused: make(chan error, 64)}
	var err error
	c.nc, err = natsgo.Connect(r.server.URL(), natsgo.Token("inbound-"+name),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { c.refused <- err }))
	must(t, err)
	t.Cleanup(c.nc.Close)
	c.js, err = jetstream.New(c.nc)
	must(t, err)
	return c
}

// facts subscribes as konto's reactor does.
func (r *room) facts(i *Inbound) (*Subscriber, <-chan *watermill.Message) {
	r.t.Helper()
	s := i.Subscriber()
	r.t.Cleanup(func() { must(r.t, s.Close()) })
	messages, err := s.Subscribe(context.Background(), FactsSubject)
	must(r.t, err)
	return s, messages
}

func (r *room) waiting() uint64 {
	r.t.Helper()
	s, err := r.conn.js.Stream(r.t.Context(), factsStream)
	must(r.t, err)
	return s.CachedInfo().State.Msgs
}

func TestFactsArriveUnderTheSendersName(t *testing.T) {
	r, _ := listening(t)
	_, messages := r.facts(r.inbound())
	c := r.sender(t, "registry")
	ack, err := c.js.Publish(t.Context(), factsSubject, []byte("acknowledged"))
	must(t, err)
	if ack.Stream != factsStream || ack.Sequence != 1 {
		t.Errorf("acknowledged as %+v", ack)
	}
	forged := natsgo.NewMsg(factsSubject)
	forged.Data = []byte("plain")
	for _, name := range []string{MetaSubject, MetaSequence, MetaTime} {
		forged.Header.Set(name, "konto.inbound.facts.billing")
	}
	must(t, c.nc.PublishMsg(forged))
	for n, want := range []string{"acknowledged", "plain"} {
		m := next(t, messages)
		if string(m.Payload) != want || m.Metadata.Get(MetaSubject) != "konto.inbound.facts.registry" ||
			m.Metadata.Get(MetaSequence) != fmt.Sprint(n+1) || m.UUID != fmt.Sprint(n+1) {
			t.Errorf("got %s %s %v", m.UUID, m.Payload, m.Metadata)
		}
		if at, err := time.Parse(time.RFC3339Nano, m.Metadata.Get(MetaTime)); err != nil || time.Since(at) > patience {
			t.Errorf("came at %v, %v", at, err)
		}
		m.Ack()
	}
}

func TestFactThatFailsHoldsUpThoseBehindIt(t *testing.T) {
	r, _ := listening(t)
	_, messages := r.facts(r.inbound())
	c := r.sender(t, "registry")
	for _, body := range []string{"first", "second"} {
		_, err := c.js.Publish(t.Context(), factsSubject, []byte(body))
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

func TestFactsWaitForTheSubscriberAndAreGoneOnceHandled(t *testing.T) {
	r, _ := listening(t)
	i := r.inbound()
	c := r.sender(t, "registry")
	for _, body := range []string{"first", "second"} {
		_, err := c.js.Publish(t.Context(), factsSubject, []byte(body))
		must(t, err)
	}
	s, messages := r.facts(i)
	next(t, messages).Ack()
	must(t, s.Close()) // the second one may be on its way by now
	_, messages = r.facts(i)
	m := next(t, messages)
	m.Ack()
	if string(m.Payload) != "second" {
		t.Fatalf("got %s", m.Payload)
	}
	stream, err := r.conn.js.Stream(t.Context(), factsStream)
	must(t, err)
	for deadline := time.Now().Add(patience); ; {
		info, err := stream.Info(t.Context())
		must(t, err)
		if info.State.Msgs == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d handled facts are kept", info.State.Msgs)
		}
	}
}

func TestInboundStreamsAreKeptInShape(t *testing.T) {
	r, _ := listening(t)
	i := r.inbound()
	shape := func(name string) jetstream.StreamConfig {
		s, err := r.conn.js.Stream(t.Context(), name)
		must(t, err)
		return s.CachedInfo().Config
	}
	check := func() {
		t.Helper()
		facts, dead := shape(factsStream), shape(deadStream)
		if facts.Retention != jetstream.WorkQueuePolicy || facts.Discard != jetstream.DiscardNew || facts.MaxBytes != maxWaiting ||
			facts.MaxMsgsPerSubject != maxWaitingOfOne || !facts.DiscardNewPerSubject || facts.MaxMsgSize != maxFact || facts.MaxAge != 0 || facts.Storage != jetstream.FileStorage || facts.Duplicates != 0 {
			t.Errorf("facts: %+v", facts)
		}
		if dead.Retention != jetstream.LimitsPolicy || dead.MaxAge != deadFor || dead.MaxBytes != maxDead || dead.Storage != jetstream.FileStorage {
			t.Errorf("dead letters: %+v", dead)
		}
	}
	check()
	for _, name := range []string{factsStream, deadStream} {
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
	must(t, r.conn.js.DeleteStream(t.Context(), deadStream))
	must(t, r.conn.js.DeleteStream(t.Context(), factsStream))
	c := r.sender(t, "registry")
	for deadline := time.Now().Add(patience); ; {
		_, err := c.js.Publish(t.Context(), factsSubject, []byte("here"))
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

// Senders may call different messages the same: none is lost for it.
func TestNoMessageIsDroppedForItsID(t *testing.T) {
	r, _ := listening(t)
	_, messages := r.facts(r.inbound())
	for _, test := range []struct{ sender, body string }{{"registry", "a"}, {"billing", "b"}, {"registry", "c"}} {
		ack, err := r.sender(t, test.sender).js.Publish(t.Context(), factsSubject, []byte(test.body), jetstream.WithMsgID("1"))
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
