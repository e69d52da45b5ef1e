//go:build servers

package natscallout_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats"
	"konto/projections/nats/subjects"
	"konto/projections/natscallout"
	"konto/projections/natstest"
)

// patience is how long a test waits for something that must happen. To reach it is a failure.
const patience = 30 * time.Second

var (
	quiet  = slog.New(slog.DiscardHandler)
	secret = make([]byte, 32)
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fixture is a cluster, konto's streams in it, and keys.
type fixture struct {
	t       *testing.T
	cluster *natstest.Cluster
	js      jetstream.JetStream // konto's

	mu     sync.Mutex
	tokens map[string]natscallout.Client
	asked  map[string]int // how often a node authenticated
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	issuer, err := natscallout.PublicKey(secret)
	must(t, err)
	f := &fixture{
		t: t, cluster: natstest.Start(t, map[string]string{"KONTO_NATS_ISSUER": issuer}),
		tokens: map[string]natscallout.Client{
			"token of crm":      {Name: "crm", Key: "1"},
			"token of billing":  {Name: "billing", Key: "2"},
			"token of registry": {Name: "registry", Key: "3", Sender: true},
			"token of other":    {Name: "other", Key: "4", Sender: true},
			"token of konto":    {Name: subjects.Reserved[0], Key: "5"},
			"token of *":        {Name: "*", Key: "6"},
		},
		asked: map[string]int{},
	}
	conn := f.dial()
	must(t, nats.NewInbound(conn, nil, quiet).Open(t.Context()))
	nc, err := natsgo.Connect(f.cluster.URL("konto:konto@"))
	must(t, err)
	t.Cleanup(nc.Close)
	f.js, err = jetstream.New(nc)
	must(t, err)
	_, err = f.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: subjects.Stream, Subjects: []string{subjects.Accounts}, Replicas: 3})
	must(t, err)
	for range 10 {
		_, err = f.js.Publish(t.Context(), "konto.account.x.EmailChanged", []byte("{}"))
		must(t, err)
	}
	return f
}

func (f *fixture) dial() *nats.Conn {
	f.t.Helper()
	conn, err := nats.Dial(nats.DialConfig{URL: f.cluster.URL("konto:konto@"), Log: quiet})
	must(f.t, err)
	f.t.Cleanup(conn.Close)
	return conn
}

// serve starts a node's service. The returned function stops it.
func (f *fixture) serve(node string, lifetime time.Duration) (stop func()) {
	f.t.Helper()
	conn := f.dial()
	s, err := natscallout.New(natscallout.Config{
		Conn: conn, Secret: secret, Lifetime: lifetime, Log: quiet,
		Authenticate: func(_ context.Context, token string) (natscallout.Client, bool) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.asked[node]++
			c, ok := f.tokens[token]
			return c, ok
		},
	})
	must(f.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		must(f.t, <-done)
	})
	f.t.Cleanup(stop)
	return stop
}

// client is a connection of a consumer or sender.
type client struct {
	t       *testing.T
	nc      *natsgo.Conn
	js      jetstream.JetStream
	refused chan error
}

// connect connects to one of the servers until a service answers.
func (f *fixture) connect(name string) *client {
	f.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		c, err := f.try("token of "+name, natsgo.CustomInboxPrefix(natscallout.InboxPrefix(name)))
		if err == nil {
			return c
		}
		if !errors.Is(err, natsgo.ErrAuthorization) && !errors.Is(err, natsgo.ErrTimeout) || time.Now().After(deadline) {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) try(token string, options ...natsgo.Option) (*client, error) {
	c := &client{t: f.t, refused: make(chan error, 64)}
	var err error
	c.nc, err = natsgo.Connect(f.cluster.URL(""), append(options, natsgo.Token(token), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(10*time.Millisecond),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { c.refused <- err }))...)
	if err != nil {
		return nil, err
	}
	f.t.Cleanup(c.nc.Close)
	c.js, err = jetstream.New(c.nc)
	must(f.t, err)
	return c, nil
}

// refuses fails unless the server refuses to let the client do something.
func (c *client) refuses(what string, do func() error) {
	c.t.Helper()
	must(c.t, do())
	must(c.t, c.nc.Flush())
	select {
	case err := <-c.refused:
		if !errors.Is(err, natsgo.ErrPermissionViolation) || !strings.Contains(err.Error(), what) {
			c.t.Errorf("%s: %v", what, err)
		}
	case <-time.After(patience):
		c.t.Errorf("%s is allowed", what)
	}
}

func (c *client) mayNotPublish(subject string) {
	c.t.Helper()
	c.refuses(subject, func() error { return c.nc.Publish(subject, []byte("{}")) })
}

func (c *client) mayNotSubscribe(subject string) {
	c.t.Helper()
	c.refuses(subject, func() error { _, err := c.nc.SubscribeSync(subject); return err })
}

func TestConsumerUsesItsOwnDurableAndNothingElse(t *testing.T) {
	f := newFixture(t)
	f.serve("a", 0)
	crm, billing := f.connect("crm"), f.connect("billing")
	for name, c := range map[string]*client{"crm": crm, "billing": billing} {
		durable, err := c.js.CreateOrUpdateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{Durable: name, FilterSubject: "konto.account.*.EmailChanged"})
		must(t, err)
		batch, err := durable.Fetch(3)
		must(t, err)
		n := 0
		for m := range batch.Messages() {
			must(t, m.DoubleAck(t.Context()))
			n++
		}
		if n != 3 || batch.Error() != nil {
			t.Fatalf("%s got %d messages, %v", name, n, batch.Error())
		}
	}
	for _, subject := range []string{
		"konto.account.x.EmailChanged", subjects.Facts, subjects.Facts + ".crm", subjects.DeadLetters,
		"$JS.API.CONSUMER.CREATE.KONTO.billing", "$JS.API.CONSUMER.CREATE.KONTO.billing.konto.account.>", "$JS.API.CONSUMER.CREATE.KONTO",
		"$JS.API.CONSUMER.DURABLE.CREATE.KONTO.billing", "$JS.API.CONSUMER.INFO.KONTO.billing", "$JS.API.CONSUMER.MSG.NEXT.KONTO.billing",
		"$JS.API.CONSUMER.DELETE.KONTO.billing", "$JS.API.CONSUMER.DELETE.KONTO.crm", "$JS.ACK.KONTO.billing.1.4.4.1.0",
		"$JS.API.STREAM.DELETE.KONTO", "$JS.API.STREAM.PURGE.KONTO", "$JS.API.STREAM.MSG.DELETE.KONTO", "$JS.API.STREAM.INFO.KONTO_INBOUND",
		"$JS.API.CONSUMER.MSG.NEXT.KONTO_INBOUND.crm", "$SYS.REQ.USER.AUTH", "_INBOX_billing.x",
	} {
		crm.mayNotPublish(subject)
	}
	for _, subject := range []string{"konto.account.>", "_INBOX.>", "_INBOX_billing.>", "_INBOX_*.>", "*.>", ">", "$JS.>", "$SYS.>"} {
		crm.mayNotSubscribe(subject)
	}

	// An answer that goes to a subject of the API is no request.
	before, err := f.js.Consumer(t.Context(), subjects.Stream, "billing")
	must(t, err)
	own, err := crm.js.Consumer(t.Context(), subjects.Stream, "crm")
	must(t, err)
	for range 20 {
		for _, ask := range []string{"$JS.API.INFO", "$JS.API.STREAM.INFO.KONTO", "$JS.API.CONSUMER.MSG.NEXT.KONTO.crm", "$JS.API.CONSUMER.CREATE.KONTO.crm"} {
			for _, reply := range []string{"$JS.API.CONSUMER.MSG.NEXT.KONTO.billing", "konto.account.x.Forged", subjects.Facts + ".registry"} {
				must(t, crm.nc.PublishRequest(ask, reply, nil))
			}
		}
		_, err = own.Info(t.Context()) // answered after most of those
		must(t, err)
	}
	after, err := f.js.Consumer(t.Context(), subjects.Stream, "billing")
	must(t, err)
	if was, is := before.CachedInfo().Delivered.Consumer, after.CachedInfo().Delivered.Consumer; was != is {
		t.Errorf("another consumer took %d messages", is-was)
	}
	for stream, want := range map[string]uint64{subjects.Stream: 10, subjects.FactsStream: 0} {
		s, err := f.js.Stream(t.Context(), stream)
		must(t, err)
		if got := s.CachedInfo().State.LastSeq; got != want {
			t.Errorf("%s has %d messages, want %d", stream, got, want)
		}
	}
}

func TestSenderSendsItsFactsAndNothingElse(t *testing.T) {
	f := newFixture(t)
	f.serve("a", 0)
	registry, other := f.connect("registry"), f.connect("other")
	for name, c := range map[string]*client{"registry": registry, "other": other} {
		_, err := c.js.Publish(t.Context(), subjects.Facts+"."+name, []byte("fact"))
		must(t, err)
	}
	for _, subject := range []string{
		subjects.Facts, subjects.Facts + ".other", subjects.DeadLetters, "konto.account.x.EmailChanged", "$JS.API.INFO",
		"$JS.API.STREAM.INFO.KONTO", "$JS.API.STREAM.DELETE.KONTO_INBOUND", "$SYS.REQ.USER.AUTH", "_INBOX_other.x",
	} {
		registry.mayNotPublish(subject)
	}
	for _, subject := range []string{subjects.Inbound, subjects.Facts + ".registry", "konto.account.>", "_INBOX.>", "_INBOX_other.>", ">"} {
		registry.mayNotSubscribe(subject)
	}
	// The acknowledgement that goes to another sender's subject is no fact.
	for range 20 {
		must(t, registry.nc.PublishRequest(subjects.Facts+".registry", subjects.Facts+".other", []byte("fact")))
		_, err := registry.js.Publish(t.Context(), subjects.Facts+".registry", []byte("fact"))
		must(t, err)
	}
	s, err := f.js.Stream(t.Context(), subjects.FactsStream)
	must(t, err)
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(subjects.Inbound))
	must(t, err)
	if want := map[string]uint64{subjects.Facts + ".registry": 41, subjects.Facts + ".other": 1}; !maps.Equal(info.State.Subjects, want) {
		t.Errorf("facts %v, want %v", info.State.Subjects, want)
	}
}

func TestTokensThatKontoDoesNotKnowAreRefused(t *testing.T) {
	f := newFixture(t)
	f.serve("a", 2*time.Second)
	crm := f.connect("crm")
	for _, token := range []string{"", "wrong", "token of konto", "token of *", "konto"} {
		if _, err := f.try(token); !errors.Is(err, natsgo.ErrAuthorization) {
			t.Errorf("the token %q: %v", token, err)
		}
	}
	for _, options := range [][]natsgo.Option{{natsgo.UserInfo("konto", "wrong")}, {natsgo.UserInfo("x", "konto")}} {
		nc, err := natsgo.Connect(f.cluster.URL(""), options...)
		if !errors.Is(err, natsgo.ErrAuthorization) {
			t.Errorf("a wrong user: %v", err)
			nc.Close()
		}
	}
	// As a password a token counts too.
	nc, err := natsgo.Connect(f.cluster.URL(""), natsgo.UserInfo("anything", "token of billing"))
	must(t, err)
	nc.Close()

	// A connection ends when its time is over, and begins again unless the key was revoked.
	ended := func() {
		t.Helper()
		select {
		case err := <-crm.refused:
			if !errors.Is(err, natsgo.ErrAuthExpired) && !errors.Is(err, natsgo.ErrAuthorization) {
				t.Errorf("the connection ended with %v", err)
			}
		case <-time.After(patience):
			t.Fatal("the connection does not end")
		}
	}
	ended()
	waitFor(t, func() bool { return crm.nc.IsConnected() })
	f.mu.Lock()
	delete(f.tokens, "token of crm")
	f.mu.Unlock()
	ended()
	waitFor(t, func() bool { return !crm.nc.IsConnected() })
	if _, err := f.try("token of crm"); !errors.Is(err, natsgo.ErrAuthorization) {
		t.Errorf("a revoked token: %v", err)
	}
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not become true")
		}
	}
}

func TestAnyNodeAnswers(t *testing.T) {
	f := newFixture(t)
	stopA := f.serve("a", 0)
	f.connect("crm")
	f.serve("b", 0)
	waitFor(t, func() bool { // both are asked
		f.connect("crm").nc.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.asked["a"] > 0 && f.asked["b"] > 0
	})
	stopA()
	f.mu.Lock()
	before := maps.Clone(f.asked)
	f.mu.Unlock()
	for range 5 {
		f.connect("crm")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked["a"] != before["a"] || f.asked["b"] < before["b"]+5 {
		t.Errorf("asked %v, before %v", f.asked, before)
	}
}
