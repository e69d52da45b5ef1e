package natsserver

import (
	"errors"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

// consumer is an outside client. refused receives its permission violations.
type consumer struct {
	t       *testing.T
	nc      *natsgo.Conn
	js      jetstream.JetStream
	refused chan error
}

func (r *fixture) consumer(t *testing.T, name string) *consumer {
	t.Helper()
	return r.consumerBy(t, "token-"+name)
}

// sender connects as a system that sends facts does.
func (r *fixture) sender(t *testing.T, name string) *consumer {
	t.Helper()
	return r.consumerBy(t, "inbound-"+name)
}

func (r *fixture) consumerBy(t *testing.T, token string) *consumer {
	t.Helper()
	c := &consumer{t: t, refused: make(chan error, 64)}
	var err error
	c.nc, err = natsgo.Connect(r.server.URL(), natsgo.Token(token), natsgo.MaxReconnects(-1),
		natsgo.ReconnectWait(10*time.Millisecond), natsgo.ReconnectJitter(0, 0), natsgo.IgnoreAuthErrorAbort(),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { c.refused <- err }))
	must(t, err)
	t.Cleanup(c.nc.Close)
	c.js, err = jetstream.New(c.nc)
	must(t, err)
	return c
}

// refuses fails unless the server answers a publish with a permissions violation.
func (c *consumer) refuses(subject, data string) {
	c.t.Helper()
	must(c.t, c.nc.PublishRequest(subject, c.nc.NewInbox(), []byte(data)))
	must(c.t, c.nc.Flush())
	c.violation("publish to " + subject)
}

func (c *consumer) violation(what string) {
	c.t.Helper()
	select {
	case err := <-c.refused:
		if !errors.Is(err, natsgo.ErrPermissionViolation) {
			c.t.Errorf("%s: %v", what, err)
		}
	case <-time.After(patience):
		c.t.Errorf("%s was not refused", what)
	}
}

func (c *consumer) fetch(from jetstream.Consumer, n int) {
	c.t.Helper()
	batch, err := from.Fetch(n, jetstream.FetchMaxWait(patience))
	must(c.t, err)
	var got int
	for m := range batch.Messages() {
		got++
		if from.CachedInfo().Config.AckPolicy == jetstream.AckExplicitPolicy {
			must(c.t, m.DoubleAck(c.t.Context()))
		}
	}
	must(c.t, batch.Error())
	if got != n {
		c.t.Fatalf("got %d of %d messages", got, n)
	}
}

func TestConsumerMaySubscribeAndPull(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	c := r.consumer(t, "billing")

	t.Run("plain subscription", func(t *testing.T) {
		sub, err := c.nc.SubscribeSync("konto.account.*.ProfileUpdated")
		must(t, err)
		must(t, c.nc.Flush())
		r.account(1)
		r.follow(r.publisher())
		m, err := sub.NextMsg(patience)
		must(t, err)
		if m.Header.Get("ce-position") != "21" {
			t.Fatalf("got position %s", m.Header.Get("ce-position"))
		}
	})
	t.Run("ordered consumer", func(t *testing.T) {
		o, err := c.js.OrderedConsumer(t.Context(), subjects.Stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subjects.Accounts}})
		must(t, err)
		c.fetch(o, 21)
	})
	t.Run("ephemeral consumer", func(t *testing.T) {
		e, err := c.js.CreateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
		must(t, err)
		c.fetch(e, 21)
	})
	t.Run("durable of its name", func(t *testing.T) {
		d, err := c.js.CreateOrUpdateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{
			Durable: "billing", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "konto.account.*.ProfileUpdated",
		})
		must(t, err)
		c.fetch(d, 21)
		_, err = c.js.Consumer(t.Context(), subjects.Stream, "billing")
		must(t, err)
		must(t, c.js.DeleteConsumer(t.Context(), subjects.Stream, "billing"))
	})
	t.Run("look at the stream", func(t *testing.T) {
		s, err := c.js.Stream(t.Context(), subjects.Stream)
		must(t, err)
		_, err = s.GetMsg(t.Context(), 1)
		must(t, err)
		_, err = c.js.AccountInfo(t.Context())
		must(t, err)
	})
	select {
	case err := <-c.refused:
		t.Errorf("something was refused: %v", err)
	default:
	}
}

func TestConsumerMayDoNothingElse(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	crm := r.consumer(t, "crm")
	_, err := crm.js.CreateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{Durable: "crm", AckPolicy: jetstream.AckExplicitPolicy})
	must(t, err)
	c := r.consumer(t, "billing")
	for _, subject := range []string{
		"konto.account.01HXA3B4C5D6E7F8G9H0J1K2M3.EmailChanged",
		"other",
		"_INBOX.someone",
		"$SYS.REQ.SERVER.PING",
		"$JS.API.STREAM.CREATE.OTHER",
		"$JS.API.STREAM.CREATE.KONTO",
		"$JS.API.STREAM.UPDATE.KONTO",
		"$JS.API.STREAM.DELETE.KONTO",
		"$JS.API.STREAM.PURGE.KONTO",
		"$JS.API.STREAM.MSG.DELETE.KONTO",
		"$JS.API.STREAM.SNAPSHOT.KONTO",
		"$JS.API.CONSUMER.CREATE.KONTO",
		"$JS.API.CONSUMER.DURABLE.CREATE.KONTO.billing",
		"$JS.API.CONSUMER.NAMES.KONTO_INBOUND",
		"$JS.API.CONSUMER.LIST.KONTO_INBOUND",
		"$JS.API.CONSUMER.CREATE.KONTO.crm",
		"$JS.API.CONSUMER.CREATE.KONTO.crm.konto.account.>",
		"$JS.API.CONSUMER.CREATE.KONTO.konto-deliveries",
		"$JS.API.CONSUMER.MSG.NEXT.KONTO.crm",
		"$JS.API.CONSUMER.MSG.NEXT.KONTO.konto-mailer",
		"$JS.API.CONSUMER.INFO.KONTO.crm",
		"$JS.API.CONSUMER.DELETE.KONTO.crm",
		"$JS.API.CONSUMER.DELETE.KONTO.konto-deliveries",
		"$JS.API.CONSUMER.PAUSE.KONTO.crm",
		"$JS.API.CONSUMER.RESET.KONTO.crm",
		"$JS.ACK.KONTO.crm.1.1.1.1.0",
		"$JS.ACK.OTHER.crm.1.1.1.1.0",
	} {
		c.refuses(subject, "{}")
	}
	for _, subject := range []string{">", "$JS.>", "$SYS.>", "konto.>", "_KONTO.>"} {
		_, err := c.nc.Subscribe(subject, func(*natsgo.Msg) {})
		must(t, err)
		must(t, c.nc.Flush())
		c.violation("subscribe to " + subject)
	}
	d, err := crm.js.Consumer(t.Context(), subjects.Stream, "crm")
	must(t, err)
	crm.fetch(d, 20)
}

func TestOnlyHoldersOfATokenConnect(t *testing.T) {
	r, _ := listening(t, "billing", "konto-mailer", "a.b", "*")
	tests := []struct {
		name string
		as   natsgo.Option
		ok   bool
	}{
		{"token", natsgo.Token("token-billing"), true},
		{"token as password", natsgo.UserInfo("anybody", "token-billing"), true},
		{"nothing", natsgo.Name("nobody"), false},
		{"empty token", natsgo.Token(""), false},
		{"wrong token", natsgo.Token("token-nobody"), false},
		{"token as user name", natsgo.UserInfo("token-billing", ""), false},
		{"name of konto's own", natsgo.Token("token-konto-mailer"), false},
		{"name of two tokens", natsgo.Token("token-a.b"), false},
		{"wildcard as name", natsgo.Token("token-*"), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			nc, err := natsgo.Connect(r.server.URL(), test.as)
			if test.ok {
				must(t, err)
				nc.Close()
			} else if !errors.Is(err, natsgo.ErrAuthorization) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestNobodyConnectsWhenTheConsumersAreUnknown(t *testing.T) {
	a := &access{names: []string{"billing"}}
	s, err := Start(Config{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", Key: []byte("k"), Log: quiet,
		Authenticate: a.authenticate, Consumers: func() []string { return nil },
	})
	must(t, err)
	defer s.Close()
	if _, err := natsgo.Connect(s.URL(), natsgo.Token("token-billing")); !errors.Is(err, natsgo.ErrAuthorization) {
		t.Fatalf("got %v", err)
	}
}

// watched returns a channel that receives a status when the connection is lost.
func (c *consumer) watched() <-chan natsgo.Status {
	return c.nc.StatusChanged(natsgo.RECONNECTING, natsgo.DISCONNECTED, natsgo.CLOSED)
}

// stayed fails when a connection was lost since it is watched.
func (c *consumer) stayed(lost <-chan natsgo.Status) {
	c.t.Helper()
	must(c.t, c.nc.Flush()) // the server answers on the connection
	select {
	case <-lost:
		c.t.Error("the connection was lost")
	default:
	}
}

func TestChangingOneKeyLeavesTheOthersConnected(t *testing.T) {
	r, a := listening(t, "billing", "crm")
	billing, crm, sender := r.consumer(t, "billing"), r.consumer(t, "crm"), r.sender(t, "registry")
	second := r.consumerBy(t, "token2-billing")
	crmLost, senderLost, secondLost, billingLost := crm.watched(), sender.watched(), second.watched(), billing.watched()

	a.set("billing", "crm", "newcomer")
	must(t, r.server.Reserve("newcomer"))
	newcomer := r.consumer(t, "newcomer")
	theirs := newcomer.unread("newcomer", 1)
	for _, subject := range durableSubjects("newcomer") {
		crm.refuses(strings.Replace(subject, ">", "1.1.1.1.0", 1), "{}")
	}
	if info, err := theirs.Info(t.Context()); err != nil || info.NumAckPending != 1 || info.Delivered.Consumer != 1 {
		t.Errorf("the newcomer's durable was touched: %+v, %v", info, err)
	}
	newcomer.unread("newcomer", 1) // and is its own to use

	r.server.Disconnect("key-billing")
	within(t, billingLost, "billing was not disconnected")
	crm.stayed(crmLost)
	sender.stayed(senderLost)
	second.stayed(secondLost)
	if !r.nc.IsConnected() {
		t.Error("konto's own connection was closed")
	}
}

func TestConsumerOfARevokedKeyIsDisconnected(t *testing.T) {
	r, a := listening(t, "billing")
	billing := r.consumer(t, "billing")
	lost := billing.watched()
	a.set()
	r.server.Disconnect("key-billing")
	within(t, lost, "billing was not disconnected")
	if _, err := natsgo.Connect(r.server.URL(), natsgo.Token("token-billing")); !errors.Is(err, natsgo.ErrAuthorization) {
		t.Fatalf("got %v", err)
	}
}

func within(t *testing.T, c <-chan natsgo.Status, failure string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal(failure)
	}
}
