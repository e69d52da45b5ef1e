package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	watermill "github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// senderOf knows every sender NAME by its token "inbound-NAME".
func senderOf(token string) (string, bool) { return strings.CutPrefix(token, "inbound-") }

// open makes the streams of inbound facts.
func (r *room) inbound() *Inbound {
	r.t.Helper()
	i := NewInbound(r.conn, quiet)
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

func TestSenderMayDoNothingElse(t *testing.T) {
	r, _ := listening(t, "registry", "crm") // a consumer may bear the same name
	r.inbound()
	crm := r.consumer(t, "crm")
	theirs := crm.unread("crm", 1)
	c := r.sender(t, "registry")
	for _, subject := range []string{
		"konto.inbound.facts.registry",
		"konto.inbound.facts.billing",
		"konto.inbound.facts.",
		"konto.inbound.dead",
		"konto.inbound.other",
		"konto.account.01HXA3B4C5D6E7F8G9H0J1K2M3.EmailChanged",
		"other",
		"_INBOX.someone",
		"_R_.anything",
		"$SYS.REQ.SERVER.PING",
		"$JS.API.INFO",
		"$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.LIST",
		"$JS.API.STREAM.INFO.KONTO",
		"$JS.API.STREAM.INFO.KONTO_INBOUND",
		"$JS.API.STREAM.MSG.GET.KONTO",
		"$JS.API.STREAM.MSG.GET.KONTO_INBOUND",
		"$JS.API.STREAM.MSG.GET.KONTO_INBOUND_DEAD",
		"$JS.API.STREAM.CREATE.OTHER",
		"$JS.API.STREAM.PURGE.KONTO_INBOUND",
		"$JS.API.STREAM.DELETE.KONTO_INBOUND_DEAD",
		"$JS.API.DIRECT.GET.KONTO_INBOUND",
		"$JS.API.CONSUMER.CREATE.KONTO",
		"$JS.API.CONSUMER.CREATE.KONTO.registry",
		"$JS.API.CONSUMER.CREATE.KONTO_INBOUND.registry",
		"$JS.API.CONSUMER.DURABLE.CREATE.KONTO_INBOUND.registry",
		"$JS.API.CONSUMER.MSG.NEXT.KONTO_INBOUND.konto-inbound",
		"$JS.API.CONSUMER.MSG.NEXT.KONTO.crm",
		"$JS.API.CONSUMER.DELETE.KONTO_INBOUND.konto-inbound",
		"$JS.ACK.KONTO_INBOUND.konto-inbound.1.1.1.1.0",
		"$JS.ACK.KONTO.crm.1.1.1.1.0",
		creations + "crm.crm",
	} {
		c.refuses(subject, "{}")
	}
	for _, subject := range []string{">", "konto.>", "konto.account.>", factsSubject, senderSubjects, deadSubject, "$JS.>", "$SYS.>", "_KONTO.>", "_R_.>"} {
		_, err := c.nc.Subscribe(subject, func(*natsgo.Msg) {})
		must(t, err)
		must(t, c.nc.Flush())
		c.violation("subscribe to " + subject)
	}
	if n := r.waiting(); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
	if info, err := theirs.Info(t.Context()); err != nil || info.NumAckPending != 1 {
		t.Errorf("a consumer's durable was touched: %+v, %v", info, err)
	}
}

// Where a message is to be answered is the client's choice, and no permission
// is checked there.
func TestAcknowledgementsStayInTheSendersAccount(t *testing.T) {
	r, _ := listening(t, "crm")
	_, messages := r.facts(r.inbound())
	crm := r.consumer(t, "crm")
	theirs := crm.unread("crm", 1)
	overheard, err := crm.nc.SubscribeSync(subjects)
	must(t, err)
	spy, err := crm.nc.SubscribeSync(inboxes)
	must(t, err)
	other := r.sender(t, "billing")
	others, err := other.nc.SubscribeSync(inboxes)
	must(t, err)
	must(t, crm.nc.Flush())
	must(t, other.nc.Flush())
	c := r.sender(t, "registry")
	targets := []string{
		factsSubject,
		"konto.inbound.facts.billing",
		deadSubject,
		"konto.account.01HXA3B4C5D6E7F8G9H0J1K2M3.EmailChanged",
		"$JS.API.STREAM.PURGE.KONTO",
		"$JS.API.STREAM.DELETE.KONTO_INBOUND",
		"$JS.API.CONSUMER.MSG.NEXT.KONTO.crm",
		"$JS.API.CONSUMER.DELETE.KONTO.crm",
		creations + "crm.crm",
		"_INBOX.someone",
	}
	for _, target := range []string{"$JS.ACK.KONTO.crm.1.1.1.1.0", "$JS.ACK.KONTO_INBOUND.konto-inbound.1.1.1.1.0", "_R_.someone"} {
		must(t, c.nc.PublishRequest(factsSubject, target, []byte("+ACK")))
		must(t, c.nc.Flush())
		c.violation("have it answered to " + target)
	}
	for _, target := range targets {
		must(t, c.nc.PublishRequest(factsSubject, target, []byte(target)))
	}
	// The last one's acknowledgement comes after those of all before it.
	_, err = c.js.Publish(t.Context(), factsSubject, []byte("last"))
	must(t, err)
	for _, want := range append(targets, "last") {
		m := next(t, messages)
		m.Ack()
		if string(m.Payload) != want {
			t.Fatalf("got %q, want %q", m.Payload, want)
		}
	}
	must(t, crm.nc.Flush())
	must(t, other.nc.Flush())
	for name, sub := range map[string]*natsgo.Subscription{"subscriber": overheard, "consumer's inboxes": spy, "other sender": others} {
		if n, _, _ := sub.Pending(); n != 0 {
			t.Errorf("%s got %d messages", name, n)
		}
	}
	info, err := theirs.Info(t.Context())
	must(t, err)
	if info.NumAckPending != 1 || info.AckFloor.Stream != 0 || info.Delivered.Consumer != 1 {
		t.Errorf("another's durable was touched: %+v", info)
	}
	if n := len(r.received()); n != 20 {
		t.Errorf("stream holds %d messages", n)
	}
}

func TestConsumersDoNotReachInboundFacts(t *testing.T) {
	r, _ := listening(t, "billing")
	r.inbound()
	c := r.consumer(t, "billing")
	for _, subject := range []string{
		factsSubject, factsSubject + ".billing", deadSubject,
		"$JS.API.STREAM.INFO.KONTO_INBOUND",
		"$JS.API.STREAM.MSG.GET.KONTO_INBOUND",
		"$JS.API.STREAM.MSG.GET.KONTO_INBOUND_DEAD",
		"$JS.API.CONSUMER.CREATE.KONTO_INBOUND.billing",
		"$JS.API.CONSUMER.MSG.NEXT.KONTO_INBOUND.konto-inbound",
		"$JS.ACK.KONTO_INBOUND.konto-inbound.1.1.1.1.0",
	} {
		c.refuses(subject, "{}")
	}
	_, err := c.nc.Subscribe("konto.inbound.>", func(*natsgo.Msg) {})
	must(t, err)
	must(t, c.nc.Flush())
	c.violation("subscribe to konto.inbound.>")
	if n := r.waiting(); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
}

func TestSenderThatIsCutOff(t *testing.T) {
	r, _ := listening(t, "registry")
	consumer, sender, other := r.consumer(t, "registry"), r.sender(t, "registry"), r.sender(t, "billing")
	lost := sender.nc.StatusChanged(natsgo.RECONNECTING)
	back := consumer.nc.StatusChanged(natsgo.CONNECTED)
	r.server.Disconnect(SenderUser("registry"))
	within(t, lost, "the sender was not disconnected")
	if !consumer.nc.IsConnected() || !other.nc.IsConnected() {
		t.Error("somebody else was disconnected too")
	}
	r.server.Disconnect() // a new consumer: no matter of senders
	within(t, back, "the consumer was not disconnected")
	if !other.nc.IsConnected() {
		t.Error("a sender was disconnected for a new consumer")
	}
	for _, token := range []string{"inbound-", "inbound-a.b", "inbound-*", "inbound-konto-inbound"} {
		if _, err := natsgo.Connect(r.server.URL(), natsgo.Token(token)); !errors.Is(err, natsgo.ErrAuthorization) {
			t.Errorf("%s: %v", token, err)
		}
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
			facts.MaxAge != 0 || facts.Storage != jetstream.FileStorage || facts.Duplicates != 0 {
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
