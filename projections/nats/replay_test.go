package nats

import (
	"errors"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
)

// replay publishes the whole log again and returns how many events were published.
func (r *room) replay(cfg ReplayConfig) (published int) {
	r.t.Helper()
	cfg.Conn = r.conn
	p, err := NewReplay(r.t.Context(), cfg)
	must(r.t, err)
	for after := uint64(0); ; {
		page, err := r.store.ReadAll(r.t.Context(), after, 500)
		must(r.t, err)
		if len(page) == 0 {
			return published
		}
		for _, e := range page {
			ok, err := p.Publish(e)
			must(r.t, err)
			if ok {
				published++
			}
			after = e.Position
		}
		must(r.t, p.Flush(r.t.Context()))
	}
}

func TestConsumerHearsReplaysAsTheEventsWerePublished(t *testing.T) {
	r, _ := listening(t, "billing")
	c := r.consumer(t, "billing")
	for prefix, begins := range map[string]string{"": "konto.replay.account.", "konto.replay.billing": "konto.replay.billing."} {
		sub, err := c.nc.SubscribeSync(begins + ">")
		must(t, err)
		must(t, c.nc.Flush())
		if n := r.replay(ReplayConfig{Prefix: prefix}); n != 20 {
			t.Fatalf("published %d", n)
		}
		for _, live := range r.received() {
			m, err := sub.NextMsg(patience)
			must(t, err)
			if m.Subject != begins+strings.TrimPrefix(live.Subject(), events.SubjectPrefix) || string(m.Data) != string(live.Data()) {
				t.Fatalf("%s %s", m.Subject, m.Data)
			}
			if m.Header.Get(replayHeader) != "true" || m.Header.Get(jetstream.MsgIDHeader) != "" {
				t.Fatalf("%v", m.Header)
			}
			for name, value := range live.Headers() {
				if strings.HasPrefix(name, "ce-") && m.Header.Get(name) != value[0] {
					t.Fatalf("%s is %q", name, m.Header.Get(name))
				}
			}
		}
	}
	if n := len(r.received()); n != 20 {
		t.Errorf("KONTO holds %d messages", n)
	}
}

func TestOnlyKontoReplays(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	c, crm := r.consumer(t, "billing"), r.consumer(t, "crm")
	heard, err := crm.nc.SubscribeSync(replaySubjects)
	must(t, err)
	must(t, crm.nc.Flush())
	c.refuses("konto.replay.account.01HXA3B4C5D6E7F8G9H0J1K2M3.EmailChanged", "forged")
	// An answer goes where the client wants it, but not out of its account.
	must(t, c.nc.PublishRequest("$JS.API.INFO", "konto.replay.forged", nil))
	must(t, c.nc.Flush())
	sender := r.sender(t, "registry")
	sender.refuses("konto.replay.account.01HXA3B4C5D6E7F8G9H0J1K2M3.EmailChanged", "forged")
	_, err = sender.nc.Subscribe(replaySubjects, func(*natsgo.Msg) {})
	must(t, err)
	must(t, sender.nc.Flush())
	sender.violation("subscribe to replays")
	// What comes after all that is the first that is heard.
	r.replay(ReplayConfig{})
	m, err := heard.NextMsg(patience)
	must(t, err)
	if m.Header.Get("ce-position") != "1" {
		t.Errorf("heard %s %s", m.Subject, m.Data)
	}
}

func TestReplayPrefixes(t *testing.T) {
	for prefix, want := range map[string]string{
		"": ReplayPrefix, "konto.replay.account": ReplayPrefix, "konto.replay.": "konto.replay.", "crm": "crm.", "a.b-c_d.": "a.b-c_d.",
		"konto.account.": "", "konto.account": "", "konto.account.x": "", "konto": "", "konto.inbound.facts": "", "konto.replays": "",
		"KONTO": "", "Konto.account": "", "konto.Replay": "", "KONTO.replay": "", "kontor": "kontor.", "crm.konto": "crm.konto.", // NATS tells case apart, people do not
		"$JS": "", "$JS.API": "", "$SYS": "", "_INBOX": "", "_INBOX.a": "", "a..b": "", ".": "", ".a": "", "*": "", ">": "", "a.*": "", "a.>": "", "a b": "", "a\tb": "", "å": "", "a.b..": "",
		strings.Repeat("a", 5000): "", strings.Repeat("a", 255): strings.Repeat("a", 255) + ".",
	} {
		got, err := replayPrefix(prefix)
		if got != want || (want == "") != errors.Is(err, ErrReplayPrefix) {
			t.Errorf("%q: %q, %v", prefix, got, err)
		}
	}
}

func TestReplayIntoAStreamIsAcknowledged(t *testing.T) {
	r := newRoom(t)
	outside := outsideServer(t, "127.0.0.1:0", t.TempDir())
	var err error
	r.conn, err = Dial(DialConfig{URL: outside.ClientURL(), Log: quiet})
	must(t, err)
	defer r.conn.Close()
	r.account(20)
	stream, err := r.conn.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "HISTORY", Subjects: []string{"history.>"}, MaxMsgs: 30, Discard: jetstream.DiscardNew})
	must(t, err)
	if n := r.replay(ReplayConfig{Prefix: "history"}); n != 20 {
		t.Errorf("published %d", n)
	}
	info, err := stream.Info(t.Context())
	must(t, err)
	if info.State.Msgs != 20 {
		t.Errorf("the stream has %d messages", info.State.Msgs)
	}
	// The stream takes ten more, within its window for duplicates, and refuses the rest.
	p, err := NewReplay(t.Context(), ReplayConfig{Conn: r.conn, Prefix: "history"})
	must(t, err)
	page, err := r.store.ReadAll(t.Context(), 0, 500)
	must(t, err)
	for _, e := range page {
		if _, err := p.Publish(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); !errors.Is(err, errUnavailable) || p.Stream() != "HISTORY" {
		t.Errorf("%v, %s", err, p.Stream())
	}
}

// TestNothingIsReplayedIntoAStreamOfKontos: an operator of an outside server may
// have given it more subjects than it should have.
func TestNothingIsReplayedIntoAStreamOfKontos(t *testing.T) {
	r, _ := listening(t, "billing")
	must(t, NewInbound(r.conn, nil, quiet).Open(t.Context()))
	for _, name := range []string{streamName, factsStream, deadStream} {
		stream, err := r.conn.js.Stream(t.Context(), name)
		must(t, err)
		cfg := stream.CachedInfo().Config
		cfg.Subjects = append(cfg.Subjects, name+"-more.>")
		_, err = r.conn.js.UpdateStream(t.Context(), cfg)
		must(t, err)
		if _, err := NewReplay(t.Context(), ReplayConfig{Conn: r.conn, Prefix: name + "-more"}); !errors.Is(err, ErrReplayPrefix) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReplayThatTheServerRefuses(t *testing.T) {
	r, _ := listening(t, "billing")
	outside, err := Dial(DialConfig{URL: "nats://token-billing@" + strings.TrimPrefix(r.server.URL(), "nats://"), Log: quiet})
	must(t, err)
	defer outside.Close()
	p := &Replay{conn: outside, prefix: ReplayPrefix, before: outside.nc.LastError()}
	page, err := r.store.ReadAll(t.Context(), 0, 1)
	must(t, err)
	if _, err := p.Publish(page[0]); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); !errors.Is(err, errUnavailable) {
		t.Errorf("a refused replay: %v", err)
	}
}
