package natsserver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats"
	"konto/projections/nats/subjects"
)

func TestFactsArriveUnderTheSendersName(t *testing.T) {
	r, _ := listening(t)
	messages := r.facts(r.inbound())
	c := r.sender(t, "registry")
	ack, err := c.js.Publish(t.Context(), subjects.Facts, []byte("acknowledged"))
	must(t, err)
	if ack.Stream != subjects.FactsStream || ack.Sequence != 1 {
		t.Errorf("acknowledged as %+v", ack)
	}
	forged := natsgo.NewMsg(subjects.Facts)
	forged.Data = []byte("plain")
	for _, name := range []string{nats.MetaSubject, nats.MetaSequence, nats.MetaTime} {
		forged.Header.Set(name, "konto.inbound.facts.billing")
	}
	must(t, c.nc.PublishMsg(forged))
	for n, want := range []string{"acknowledged", "plain"} {
		m := next(t, messages)
		if string(m.Payload) != want || m.Metadata.Get(nats.MetaSubject) != "konto.inbound.facts.registry" ||
			m.Metadata.Get(nats.MetaSequence) != fmt.Sprint(n+1) || m.UUID != fmt.Sprint(n+1) {
			t.Errorf("got %s %s %v", m.UUID, m.Payload, m.Metadata)
		}
		if at, err := time.Parse(time.RFC3339Nano, m.Metadata.Get(nats.MetaTime)); err != nil || time.Since(at) > patience {
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
		gatePrefix + "crm.CONSUMER.CREATE.KONTO.crm",
	} {
		c.refuses(subject, "{}")
	}
	for _, subject := range []string{">", "konto.>", "konto.account.>", subjects.Facts, subjects.FactsOfSenders, subjects.DeadLetters, "$JS.>", "$SYS.>", "_KONTO.>", "_R_.>"} {
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

// A client chooses the subject that the acknowledgement goes to, and the server checks no permission
// for it.
func TestAcknowledgementsStayInTheSendersAccount(t *testing.T) {
	r, _ := listening(t, "crm")
	messages := r.facts(r.inbound())
	crm := r.consumer(t, "crm")
	theirs := crm.unread("crm", 1)
	overheard, err := crm.nc.SubscribeSync(subjects.Accounts)
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
		subjects.Facts,
		"konto.inbound.facts.billing",
		subjects.DeadLetters,
		"konto.account.01HXA3B4C5D6E7F8G9H0J1K2M3.EmailChanged",
		"$JS.API.STREAM.PURGE.KONTO",
		"$JS.API.STREAM.DELETE.KONTO_INBOUND",
		"$JS.API.CONSUMER.MSG.NEXT.KONTO.crm",
		"$JS.API.CONSUMER.DELETE.KONTO.crm",
		gatePrefix + "crm.CONSUMER.CREATE.KONTO.crm",
		"_INBOX.someone",
	}
	for _, target := range []string{"$JS.ACK.KONTO.crm.1.1.1.1.0", "$JS.ACK.KONTO_INBOUND.konto-inbound.1.1.1.1.0", "_R_.someone"} {
		must(t, c.nc.PublishRequest(subjects.Facts, target, []byte("+ACK")))
		must(t, c.nc.Flush())
		c.violation("have it answered to " + target)
	}
	for _, target := range targets {
		must(t, c.nc.PublishRequest(subjects.Facts, target, []byte(target)))
	}
	// The last one's acknowledgement comes after those of all before it.
	_, err = c.js.Publish(t.Context(), subjects.Facts, []byte("last"))
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
		subjects.Facts, subjects.Facts + ".billing", subjects.DeadLetters,
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

func TestSenderOfARevokedKeyIsDisconnected(t *testing.T) {
	r, _ := listening(t, "registry")
	consumer, sender, other := r.consumer(t, "registry"), r.sender(t, "registry"), r.sender(t, "billing")
	lost, consumerLost, otherLost := sender.watched(), consumer.watched(), other.watched()
	r.server.Disconnect("key-inbound-registry")
	within(t, lost, "the sender was not disconnected")
	consumer.stayed(consumerLost)
	other.stayed(otherLost)
	for _, token := range []string{"inbound-", "inbound-a.b", "inbound-*", "inbound-konto-inbound"} {
		if _, err := natsgo.Connect(r.server.URL(), natsgo.Token(token)); !errors.Is(err, natsgo.ErrAuthorization) {
			t.Errorf("%s: %v", token, err)
		}
	}
}

// Nobody records facts here. One sender fills its share of the stream, and the others still have theirs.
func TestFloodOfOneSenderIsRefusedAndDelaysNoOther(t *testing.T) {
	r, _ := listening(t)
	r.inbound()
	limits := r.stream(subjects.FactsStream).CachedInfo().Config
	flood, other := r.sender(t, "registry"), r.sender(t, "billing")
	var last jetstream.PubAckFuture
	for range limits.MaxMsgsPerSubject {
		var err error
		last, err = flood.js.PublishAsync(subjects.Facts, []byte("{}"))
		must(t, err)
	}
	select {
	case <-last.Ok():
	case err := <-last.Err():
		t.Fatalf("the last that fits: %v", err)
	case <-time.After(patience):
		t.Fatal("the flood was not answered")
	}
	var refused *jetstream.APIError
	if _, err := flood.js.Publish(t.Context(), subjects.Facts, []byte("{}")); !errors.As(err, &refused) || !strings.Contains(refused.Description, "maximum messages per subject") {
		t.Errorf("one more: %v", err)
	}
	if _, err := other.js.Publish(t.Context(), subjects.Facts, make([]byte, limits.MaxMsgSize-100)); err != nil {
		t.Errorf("the other sender: %v", err)
	}
	if _, err := other.js.Publish(t.Context(), subjects.Facts, make([]byte, limits.MaxMsgSize+1)); !errors.As(err, &refused) {
		t.Errorf("a message that is too long: %v", err)
	}
	if n := r.waiting(); n != uint64(limits.MaxMsgsPerSubject)+1 {
		t.Errorf("%d wait", n)
	}
}
