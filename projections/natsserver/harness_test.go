package natsserver

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	watermill "github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
	"konto/projections/nats"
	"konto/projections/nats/subjects"
)

// patience is how long a test waits for something that must happen. To reach it is a failure.
const patience = 30 * time.Second

var quiet = slog.New(slog.DiscardHandler)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until other goroutines have made something true.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not become true")
		}
	}
}

// fixture is a log, and the folder of an embedded server that can be stopped and started.
type fixture struct {
	t       testing.TB
	dir     string
	store   *eventstore.Store
	cursors cursors
	server  *Server
	conn    *nats.Conn   // konto's, with which it publishes
	nc      *natsgo.Conn // another of konto's, for the test to look at what there is
	js      jetstream.JetStream
}

// cursors keeps the publisher's cursor in memory. It survives the server as read.db does.
type cursors struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (c *cursors) Cursor(_ context.Context, name string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values[name], nil
}

func (c *cursors) SetCursor(_ context.Context, name string, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[name] = value
	return nil
}

// copy returns the values, and set replaces them.
func (c *cursors) copy() map[string][]byte      { return maps.Clone(c.values) }
func (c *cursors) set(values map[string][]byte) { c.values = maps.Clone(values) }

func newFixture(t testing.TB) *fixture {
	t.Helper()
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), make([]byte, 32))
	must(t, err)
	t.Cleanup(func() { keys.Close() })
	r := &fixture{
		t: t, dir: filepath.Join(t.TempDir(), "nats"),
		store:   eventstore.NewStore(memory.New(), keys),
		cursors: cursors{values: map[string][]byte{}},
	}
	t.Cleanup(r.stop)
	return r
}

func (r *fixture) config() Config {
	return Config{Dir: r.dir, Listen: "off", Key: []byte("a key of the test"), Log: quiet}
}

func (r *fixture) start() {
	r.t.Helper()
	r.startAs(r.config())
}

func (r *fixture) startAs(cfg Config) {
	r.t.Helper()
	var err error
	r.server, err = Start(cfg)
	must(r.t, err)
	r.conn, err = nats.DialInProcess(quiet, r.server.ClientOptions()...)
	must(r.t, err)
	r.connect("", r.server.ClientOptions()...)
}

// connect makes the test's own connection.
func (r *fixture) connect(url string, options ...natsgo.Option) {
	r.t.Helper()
	var err error
	r.nc, err = natsgo.Connect(url, options...)
	must(r.t, err)
	r.js, err = jetstream.New(r.nc)
	must(r.t, err)
}

func (r *fixture) stop() {
	if r.server == nil {
		return
	}
	r.nc.Close()
	r.conn.Close()
	r.server.Close()
	r.server, r.conn, r.nc, r.js = nil, nil, nil, nil
}

func (r *fixture) publisher() *nats.Publisher {
	return nats.NewPublisher(nats.PublisherConfig{Conn: r.conn, Cursors: &r.cursors, Store: r.store, Log: quiet})
}

// account appends n events of a new account.
func (r *fixture) account(n int, last ...events.Payload) {
	r.t.Helper()
	payloads := make([]events.Payload, n, n+len(last))
	for i := range payloads {
		payloads[i] = events.ProfileUpdated{FirstName: events.Set("Åsa")}
	}
	stream := events.AccountStream(ulid.Make())
	evs := make([]events.Event, n+len(last))
	for i, p := range append(payloads, last...) {
		var err error
		evs[i], err = events.New(stream, uint64(i)+1, ulid.Make(), time.Now(), events.Metadata{}, p)
		must(r.t, err)
	}
	_, err := r.store.Append(r.t.Context(), stream, 0, nil, evs)
	must(r.t, err)
}

// follow publishes what the stream is missing, as the follower does.
func (r *fixture) follow(p *nats.Publisher) {
	r.t.Helper()
	must(r.t, p.Open(r.t.Context()))
	at, err := p.Position(r.t.Context())
	must(r.t, err)
	batch, err := r.store.ReadAll(r.t.Context(), at, 1000)
	must(r.t, err)
	must(r.t, p.Apply(r.t.Context(), batch))
}

func (r *fixture) stream(name string) jetstream.Stream {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), name)
	must(r.t, err)
	return s
}

// received returns all messages of the stream KONTO, in its order.
func (r *fixture) received() []*jetstream.RawStreamMsg {
	r.t.Helper()
	s := r.stream(subjects.Stream)
	all := make([]*jetstream.RawStreamMsg, s.CachedInfo().State.Msgs)
	for i := range all {
		m, err := s.GetMsg(r.t.Context(), s.CachedInfo().State.FirstSeq+uint64(i))
		must(r.t, err)
		all[i] = m
	}
	return all
}

// holdsTheLog fails unless the stream holds all events of the log, in order.
func (r *fixture) holdsTheLog() {
	r.t.Helper()
	want, err := r.store.ReadAll(r.t.Context(), 0, 1000)
	must(r.t, err)
	got := r.received()
	if len(got) != len(want) {
		r.t.Fatalf("stream holds %d messages, want %d", len(got), len(want))
	}
	for i, m := range got {
		if m.Header.Get("ce-id") != want[i].ID.String() {
			r.t.Fatalf("message %d is of position %s", i+1, m.Header.Get("ce-position"))
		}
	}
}

// inbound makes the streams of inbound facts.
func (r *fixture) inbound() *nats.Inbound {
	r.t.Helper()
	i := nats.NewInbound(r.conn, nil, quiet)
	must(r.t, i.Open(r.t.Context()))
	return i
}

// facts subscribes as konto's reactor does.
func (r *fixture) facts(i *nats.Inbound) <-chan *watermill.Message {
	r.t.Helper()
	s := i.Subscriber()
	r.t.Cleanup(func() { must(r.t, s.Close()) })
	messages, err := s.Subscribe(context.Background(), subjects.Inbound)
	must(r.t, err)
	return messages
}

func next(t *testing.T, messages <-chan *watermill.Message) *watermill.Message {
	t.Helper()
	select {
	case m, ok := <-messages:
		if !ok {
			t.Fatal("messages ended")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
		return nil
	}
}

// waiting is how many facts wait.
func (r *fixture) waiting() uint64 {
	r.t.Helper()
	return r.stream(subjects.FactsStream).CachedInfo().State.Msgs
}

// access is a register of consumers' tokens: the token of NAME is "token-NAME".
type access struct {
	mu    sync.Mutex
	names []string
}

func (a *access) set(names ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names = names
}

func (a *access) consumers() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.names...)
}

// authenticate knows a second token of each consumer, "token2-NAME".
func (a *access) authenticate(token string) (Holder, bool) {
	for _, name := range a.consumers() {
		switch token {
		case "token-" + name:
			return Holder{Name: name, Key: "key-" + name}, true
		case "token2-" + name:
			return Holder{Name: name, Key: "key2-" + name}, true
		}
	}
	return Holder{}, false
}

// senderOf knows every sender NAME by its token "inbound-NAME".
func senderOf(token string) (Holder, bool) {
	name, ok := strings.CutPrefix(token, "inbound-")
	return Holder{Name: name, Key: "key-inbound-" + name}, ok
}

// listening starts a server that consumers reach over TCP, with 20 events published.
func listening(t *testing.T, names ...string) (*fixture, *access) {
	t.Helper()
	r, a := newFixture(t), &access{names: names}
	cfg := r.config()
	cfg.Listen, cfg.Authenticate, cfg.Consumers, cfg.AuthenticateSender = "127.0.0.1:0", a.authenticate, a.consumers, senderOf
	r.startAs(cfg)
	r.account(20)
	r.follow(r.publisher())
	return r, a
}
