package nats

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
	"konto/projections/nats/subjects"
	"konto/projections/natsserver"
)

// patience is how long a test waits for something that must happen. To reach it is a failure.
const patience = 30 * time.Second

// fixture is a log, cursors and the folder of an embedded server that can be stopped and started.
type fixture struct {
	t       testing.TB
	dir     string
	store   *eventstore.Store
	cursors *cursors
	server  *natsserver.Server
	conn    *Conn
	version map[events.Stream]uint64
}

// cursors keeps values in memory, and survives the server as read.db does.
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

func newFixture(t testing.TB) *fixture {
	t.Helper()
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), make([]byte, 32))
	must(t, err)
	t.Cleanup(func() { keys.Close() })
	r := &fixture{
		t: t, dir: filepath.Join(t.TempDir(), "nats"),
		store:   eventstore.NewStore(memory.New(), keys),
		cursors: &cursors{values: map[string][]byte{}},
		version: map[events.Stream]uint64{},
	}
	t.Cleanup(r.stop)
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var quiet = slog.New(slog.DiscardHandler)

// eventually waits until other goroutines have made something true.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not become true")
		}
	}
}

func (r *fixture) start() {
	r.t.Helper()
	var err error
	r.server, err = natsserver.Start(natsserver.Config{Dir: r.dir, Listen: "off", Key: []byte("a key of the test"), Log: quiet})
	must(r.t, err)
	r.conn, err = DialInProcess(quiet, r.server.ClientOptions()...)
	must(r.t, err)
}

func (r *fixture) stop() {
	if r.server == nil {
		return
	}
	r.conn.Close()
	r.server.Close()
	r.server, r.conn = nil, nil
}

// started returns a fixture whose server runs.
func started(t *testing.T) *fixture {
	t.Helper()
	r := newFixture(t)
	r.start()
	return r
}

func (r *fixture) publisher() *Publisher {
	return NewPublisher(PublisherConfig{Conn: r.conn, Cursors: r.cursors, Store: r.store, Log: quiet})
}

// account appends n events of one account.
func (r *fixture) account(n int) events.Stream {
	stream := events.AccountStream(ulid.Make())
	for n > 0 {
		part := min(n, 500)
		payloads := make([]events.Payload, part)
		for i := range payloads {
			payloads[i] = events.ProfileUpdated{FirstName: events.Set("Åsa " + strconv.Itoa(i))}
		}
		r.append(stream, payloads...)
		n -= part
	}
	return stream
}

func (r *fixture) append(stream events.Stream, payloads ...events.Payload) {
	r.appendAt(time.Now(), stream, payloads...)
}

func (r *fixture) appendAt(at time.Time, stream events.Stream, payloads ...events.Payload) {
	r.t.Helper()
	expected := r.version[stream]
	evs := make([]events.Event, len(payloads))
	for i, p := range payloads {
		var err error
		evs[i], err = events.New(stream, expected+uint64(i)+1, ulid.MustNew(ulid.Timestamp(at), rand.Reader), at, events.Metadata{}, p)
		must(r.t, err)
	}
	_, err := r.store.Append(r.t.Context(), stream, expected, nil, evs)
	must(r.t, err)
	r.version[stream] += uint64(len(evs))
}

// follow feeds a publisher from its position to the end of the log, as the follower does.
func (r *fixture) follow(p *Publisher) {
	r.t.Helper()
	r.feed(p, r.open(p))
}

// open opens a publisher and returns the position after which it goes on.
func (r *fixture) open(p *Publisher) uint64 {
	r.t.Helper()
	must(r.t, p.Open(r.t.Context()))
	at, err := p.Position(r.t.Context())
	must(r.t, err)
	return at
}

func (r *fixture) feed(p *Publisher, at uint64) {
	r.t.Helper()
	for {
		batch, err := r.store.ReadAll(r.t.Context(), at, 500)
		must(r.t, err)
		if len(batch) == 0 {
			return
		}
		must(r.t, p.Apply(r.t.Context(), batch))
		at = batch[len(batch)-1].Position
	}
}

func (r *fixture) stream() jetstream.Stream {
	r.t.Helper()
	s, err := r.conn.js.Stream(r.t.Context(), subjects.Stream)
	must(r.t, err)
	return s
}

// received returns all messages of the stream, in its order.
func (r *fixture) received() []jetstream.Msg {
	r.t.Helper()
	s := r.stream()
	n := int(s.CachedInfo().State.Msgs)
	if n == 0 {
		return nil
	}
	c, err := s.OrderedConsumer(r.t.Context(), jetstream.OrderedConsumerConfig{})
	must(r.t, err)
	var all []jetstream.Msg
	for deadline := time.Now().Add(patience); len(all) < n; {
		batch, err := c.Fetch(n-len(all), jetstream.FetchMaxWait(5*time.Second))
		must(r.t, err)
		before := len(all)
		for m := range batch.Messages() {
			all = append(all, m)
		}
		// The servers of a cluster learn of a new consumer one after the other.
		if errors.Is(batch.Error(), natsgo.ErrNoResponders) && time.Now().Before(deadline) {
			continue
		}
		must(r.t, batch.Error())
		if len(all) == before {
			r.t.Fatalf("stream gave %d of %d messages", len(all), n)
		}
	}
	return all
}

// published returns the ids that the stream must hold after a position.
func (r *fixture) published(after uint64) []string {
	r.t.Helper()
	var ids []string
	for {
		batch, err := r.store.ReadAll(r.t.Context(), after, 1000)
		must(r.t, err)
		if len(batch) == 0 {
			return ids
		}
		for _, e := range batch {
			if e.Stream.Category() == events.CategoryAccount && !e.Shredded {
				ids = append(ids, e.ID.String())
			}
		}
		after = batch[len(batch)-1].Position
	}
}

// holds fails unless the stream holds exactly these events, in this order.
func (r *fixture) holds(want []string) {
	r.t.Helper()
	got := r.received()
	for i, m := range got {
		if i >= len(want) || m.Headers().Get("ce-id") != want[i] {
			r.t.Fatalf("stream's message %d of %d is of position %s, which is out of place", i+1, len(got), m.Headers().Get("ce-position"))
		}
	}
	if len(got) != len(want) {
		r.t.Fatalf("stream holds %d messages, want %d", len(got), len(want))
	}
}

// saved returns the cursor that is saved.
func (r *fixture) saved() (c Cursor) {
	r.t.Helper()
	must(r.t, json.Unmarshal(r.cursors.values[cursorName], &c))
	return c
}

// save replaces the cursor that is saved.
func (r *fixture) save(c Cursor) {
	r.t.Helper()
	value, err := json.Marshal(c)
	must(r.t, err)
	must(r.t, r.cursors.SetCursor(r.t.Context(), cursorName, value))
}

// lossy is JetStream on a network that loses one message.
type lossy struct {
	jetstream.JetStream
	send func(*natsgo.Msg) error
	sent int
	lose int // counts from 1
}

// lossy makes a publisher lose one message.
func (p *Publisher) lossy(lose int) {
	l := &lossy{JetStream: p.conn.js, send: p.send, lose: lose}
	p.conn.js, p.send = l, l.publishMsg
}

func (l *lossy) loses() bool {
	l.sent++
	return l.sent == l.lose
}

func (l *lossy) publishMsg(m *natsgo.Msg) error {
	if l.loses() {
		return nil
	}
	return l.send(m)
}

func (l *lossy) PublishMsgAsync(m *natsgo.Msg, opts ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	if l.loses() {
		return lost{}, nil
	}
	return l.JetStream.PublishMsgAsync(m, opts...)
}

// lost is the future of a message that never arrived.
type lost struct{ jetstream.PubAckFuture }

func (lost) Ok() <-chan *jetstream.PubAck { return nil }
func (lost) Err() <-chan error {
	c := make(chan error, 1)
	c <- fmt.Errorf("no acknowledgement: %w", natsgo.ErrTimeout)
	return c
}

// outsideServer is a server that konto did not start, without users.
func outsideServer(t testing.TB, address, dir string) *server.Server {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	must(t, err)
	opts := &server.Options{Host: host, NoSigs: true, JetStream: true, StoreDir: dir}
	if opts.Port, err = strconv.Atoi(port); err != nil || opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(opts)
	must(t, err)
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("outside server is not ready")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}
