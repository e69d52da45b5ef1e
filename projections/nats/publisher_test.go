package nats

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
	"konto/projections/nats/subjects"
)

var _ Cursors = (*projections.ReadModel)(nil)

func TestPublishesInOrderWithoutGapsOverARestart(t *testing.T) {
	r := newFixture(t)
	r.start()
	for range 10 {
		r.account(500)
	}
	r.follow(r.publisher())
	r.stop()
	for range 10 {
		r.account(500)
	}
	r.start()
	r.follow(r.publisher())
	want := r.published(0)
	if len(want) != 10_000 {
		t.Fatalf("log has %d account events", len(want))
	}
	r.holds(want)
	if position := r.open(r.publisher()); position != 10_000 {
		t.Fatalf("the next one continues after %d", position)
	}
}

func TestCursorIsSavedOnceASecond(t *testing.T) {
	r := newFixture(t)
	r.start()
	p := r.publisher()
	r.account(1)
	r.follow(p)
	r.account(1)
	r.follow(p)
	if c := r.saved(); c.Position != 1 {
		t.Errorf("saved %+v although it was a moment ago", c)
	}
	if position := r.open(r.publisher()); position != 2 {
		t.Errorf("a publisher that begins with that cursor continues after %d", position)
	}
	must(t, p.Rest(t.Context()))
	if c := r.saved(); c.Position != 2 || c.Sequence != 2 {
		t.Errorf("saved %+v when it ended", c)
	}
	p.savedAt = time.Now().Add(-saveEvery)
	r.account(1)
	r.follow(p)
	if c := r.saved(); c.Position != 3 || c.Sequence != 3 {
		t.Errorf("saved %+v a second later", c)
	}
}

// Position neither needs NATS nor changes anything: Open does.
func TestPositionChangesNothing(t *testing.T) {
	r := started(t)
	r.account(20)
	p := r.publisher()
	if at, err := p.Position(t.Context()); err != nil || at != 0 {
		t.Errorf("continues after %d, %v", at, err)
	}
	if _, err := r.conn.js.Stream(t.Context(), subjects.Stream); !errors.Is(err, jetstream.ErrStreamNotFound) || len(r.cursors.values) != 0 {
		t.Errorf("there is a stream, or a cursor: %v", err)
	}
	r.follow(p)
	must(t, p.Rest(t.Context()))
	r.stop()
	must(t, os.RemoveAll(r.dir))
	r.start()
	saved := r.saved()
	p = r.publisher()
	if at, err := p.Position(t.Context()); err != nil || at != 20 || r.saved() != saved {
		t.Errorf("continues after %d with %+v, %v", at, r.saved(), err)
	}
	if at := r.open(p); at != 0 {
		t.Errorf("continues after %d when the stream is lost", at)
	}
}

// A publisher that nobody opened finds out with the first batch what the stream lost.
func TestApplyOpensTheStream(t *testing.T) {
	r := started(t)
	r.account(20)
	r.follow(r.publisher())
	r.stop()
	must(t, os.RemoveAll(r.dir))
	r.start()
	r.account(5)
	r.feed(r.publisher(), 20)
	r.holds(r.published(0))
}

func TestServerStopsWhileEventsArePublished(t *testing.T) {
	r := newFixture(t)
	r.account(10_000)
	first := outsideServer(t, "127.0.0.1:0", r.dir)
	address := first.Addr().String()
	conn, err := Dial(DialConfig{URL: "nats://" + address, Log: quiet})
	must(t, err)
	defer conn.Close()
	some := make(chan struct{})
	var seen int
	_, err = conn.nc.Subscribe(subjects.Accounts, func(*natsgo.Msg) {
		if seen++; seen == 3000 {
			close(some)
		}
	})
	must(t, err)
	p := NewPublisher(PublisherConfig{Conn: conn, Cursors: r.cursors, Store: r.store, Log: quiet})
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.follow(p)
	}()
	<-some
	first.Shutdown()
	first.WaitForShutdown()
	outsideServer(t, address, r.dir)
	<-done
	r.conn = conn
	r.holds(r.published(0))
}

// The first and the last message of a batch are acknowledged, the others are not.
func TestLostMessageLeavesNoHole(t *testing.T) {
	for _, lose := range []int{1, 120, 299, 300} {
		t.Run(strconv.Itoa(lose), func(t *testing.T) {
			r := newFixture(t)
			r.start()
			r.account(300)
			p := r.publisher()
			p.lossy(lose)
			r.follow(p)
			r.holds(r.published(0))
			if c := r.saved(); c.Sequence != 300 {
				t.Errorf("cursor is %+v", c)
			}
		})
	}
}

// When the server stores nothing, the last message of a batch is only out of sequence.
func TestRefusedBatchReportsTheReason(t *testing.T) {
	r := newFixture(t)
	r.start()
	p := r.publisher()
	r.open(p)
	cfg := r.stream().CachedInfo().Config
	cfg.MaxMsgs, cfg.Discard = 1, jetstream.DiscardNew
	_, err := r.conn.js.UpdateStream(t.Context(), cfg)
	must(t, err)
	r.account(5)
	batch, err := r.store.ReadAll(t.Context(), 0, 5)
	must(t, err)
	msgs, err := messages(batch)
	must(t, err)
	must(t, p.sendAll(t.Context(), msgs[:1]))
	p.cursor.Sequence++
	if err := p.sendAll(t.Context(), msgs[1:]); !errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), "maximum messages") {
		t.Errorf("got %v", err)
	}
}

// A message within a batch is not acknowledged, and those behind it are only out of sequence.
func TestRefusalWithinABatchIsLoggedWithItsReason(t *testing.T) {
	r := newFixture(t)
	r.start()
	ctx, cancel := context.WithCancel(t.Context())
	logged := &firstLine{written: cancel}
	p := NewPublisher(PublisherConfig{Conn: r.conn, Cursors: r.cursors, Store: r.store, Log: slog.New(slog.NewTextHandler(logged, nil))})
	r.open(p)
	cfg := r.stream().CachedInfo().Config
	cfg.MaxMsgSize = 2000
	_, err := r.conn.js.UpdateStream(t.Context(), cfg)
	must(t, err)
	r.account(3)
	r.append(events.AccountStream(ulid.Make()), events.ProfileUpdated{FirstName: events.Set(strings.Repeat("x", 3000))})
	r.account(3)
	batch, err := r.store.ReadAll(t.Context(), 0, 7)
	must(t, err)
	if err := p.Apply(ctx, batch); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(logged.text, "message size exceeds maximum") {
		t.Errorf("logged was %s", logged.text)
	}
}

// firstLine keeps the first line of a log, and calls written then.
type firstLine struct {
	text    string
	written func()
}

func (l *firstLine) Write(line []byte) (int, error) {
	if l.text == "" {
		l.text = string(line)
		l.written()
	}
	return len(line), nil
}

// A stream that is persisted asynchronously can never have replicas, and loses acknowledged messages when
// the process is killed. Inbound facts are stored nowhere else.
func TestOnlyTheEmbeddedCopyIsPersistedAsynchronously(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.account(1)
	r.follow(r.publisher())
	r.inbound()
	facts, err := r.conn.js.Stream(t.Context(), subjects.FactsStream)
	must(t, err)
	outside := newFixture(t)
	outside.account(1)
	server := outsideServer(t, "127.0.0.1:0", outside.dir)
	outside.conn, err = Dial(DialConfig{URL: server.ClientURL(), Log: quiet})
	must(t, err)
	defer outside.conn.Close()
	outside.follow(outside.publisher())
	for _, test := range []struct {
		stream jetstream.Stream
		want   jetstream.PersistModeType
	}{
		{r.stream(), jetstream.AsyncPersistMode}, {facts, jetstream.DefaultPersistMode}, {outside.stream(), jetstream.DefaultPersistMode},
	} {
		if cfg := test.stream.CachedInfo().Config; cfg.PersistMode != test.want {
			t.Errorf("%s is persisted %v, want %v", cfg.Name, cfg.PersistMode, test.want)
		}
	}
}

func TestConsumersOnTheStreamAreLimited(t *testing.T) {
	r := started(t)
	r.open(r.publisher())
	if got := r.stream().CachedInfo().Config.MaxConsumers; got != maxConsumers {
		t.Fatalf("stream takes %d consumers", got)
	}
}

func TestForeignMessagesDoNotStopThePublisher(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.account(50)
	p := r.publisher()
	r.follow(p)
	_, err := r.conn.js.Publish(t.Context(), "konto.account.foreign", []byte("{}"))
	must(t, err)
	r.account(50)
	r.feed(p, 50)
	r.follow(r.publisher())
	want := r.published(0)
	r.holds(append(append(want[:50:50], ""), want[50:]...))
}

func TestCredentialsAreNeverPublished(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.account(3)
	r.append(events.CredentialStream(ulid.Make()), events.KeyIssued{Client: "shop", SecretHash: []byte("hash")}, events.CredentialRevoked{})
	p := r.publisher()
	r.follow(p)
	r.holds(r.published(0))
	at := r.open(r.publisher())
	if n := len(r.received()); at != 5 || n != 3 {
		t.Fatalf("%d messages at position %d, want 3 at 5", n, at)
	}
}

func TestMessageIsACloudEvent(t *testing.T) {
	r := newFixture(t)
	r.start()
	id := ulid.Make()
	r.append(events.AccountStream(id), events.AccountOpened{Email: "a@example.com"},
		events.EmailChanged{PreviousEmail: "a@example.com", NewEmail: "å@example.com", How: events.EmailDirect},
		events.ProfileUpdated{FirstName: events.Set("Åsa")})
	r.follow(r.publisher())
	evs, err := r.store.ReadAll(t.Context(), 1, 1)
	must(t, err)
	e, m := evs[0], r.received()[1]
	if want := "konto.account." + id.String() + ".EmailChanged"; m.Subject() != want {
		t.Errorf("subject %s, want %s", m.Subject(), want)
	}
	if string(m.Data()) != string(e.Data) {
		t.Errorf("data %s, want %s", m.Data(), e.Data)
	}
	want := map[string]string{
		"Nats-Msg-Id": e.ID.String(), "ce-id": e.ID.String(), "ce-specversion": "1.0", "ce-source": "/konto",
		"ce-type": "konto.account.EmailChanged.v1", "ce-subject": id.String(), "ce-time": e.Time.Format(time.RFC3339Nano),
		"ce-datacontenttype": "application/json", "ce-position": "2", "ce-accountversion": "2",
	}
	for name, value := range want {
		if got := m.Headers()[name]; len(got) != 1 || got[0] != value {
			t.Errorf("header %s is %q, want %q", name, got, value)
		}
	}
}

func TestUndecodableEventIsNotAnOutage(t *testing.T) {
	r := newFixture(t)
	r.start()
	p := r.publisher()
	r.open(p)
	poison := events.Event{ID: ulid.Make(), Stream: "account-not-a-ulid", Position: 1, Type: events.TypeEmailChanged}
	if err := p.Apply(t.Context(), []events.Event{poison}); err == nil || errors.Is(err, errUnavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestWaitsForAServerThatIsAbsentAtStart(t *testing.T) {
	r := newFixture(t)
	probe := outsideServer(t, "127.0.0.1:0", r.dir)
	address := probe.Addr().String()
	probe.Shutdown()
	probe.WaitForShutdown()

	conn, err := Dial(DialConfig{URL: "nats://" + address, Log: quiet})
	must(t, err)
	defer conn.Close()
	p := NewPublisher(PublisherConfig{Conn: conn, Cursors: r.cursors, Store: r.store, Log: quiet})
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Open(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if p.State() != "waiting for NATS" {
		t.Fatalf("state is %q", p.State())
	}
	r.account(10)
	outsideServer(t, address, r.dir)
	r.follow(p)
	if p.State() != projections.StateFollowing {
		t.Fatalf("state is %q", p.State())
	}
	r.conn = conn
	r.holds(r.published(0))
}

func TestSettingsOfAnOperatorAreKept(t *testing.T) {
	r := newFixture(t)
	r.start()
	_, err := r.conn.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: subjects.Stream, Subjects: []string{"other"}, MaxBytes: 1 << 30, Description: "ours", Storage: jetstream.FileStorage,
	})
	must(t, err)
	r.follow(r.publisher())
	cfg := r.stream().CachedInfo().Config
	if cfg.Description != "ours" || cfg.MaxBytes != 1<<30 {
		t.Errorf("settings were lost: %+v", cfg)
	}
	if cfg.MaxAge != defaultRetention || len(cfg.Subjects) != 1 || cfg.Subjects[0] != subjects.Accounts || cfg.Discard != jetstream.DiscardOld {
		t.Errorf("stream is not as the publisher needs it: %+v", cfg)
	}
}

func TestEnvelopeKeepsNothingOfTheMessageBefore(t *testing.T) {
	var e envelope
	e.put(events.Message{Subject: "a", Headers: [][2]string{{"ce-id", "1"}, {"ce-source", "/konto"}}, Data: []byte("1")}, 6)
	got := e.put(events.Message{Subject: "b", Headers: [][2]string{{"ce-id", "2"}}}, 7)
	want := natsgo.Header{"ce-id": {"2"}, "Nats-Msg-Id": {"2"}, "Nats-Expected-Last-Sequence": {"7"}}
	if got.Subject != "b" || got.Data != nil || !reflect.DeepEqual(got.Header, want) {
		t.Errorf("got %s %s %v", got.Subject, got.Data, got.Header)
	}
}
