package nats

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

// replay publishes the whole log again and returns how many events were published.
func (r *fixture) replay(cfg ReplayConfig) (published int) {
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

func TestReplayPrefixes(t *testing.T) {
	for prefix, want := range map[string]string{
		"": ReplayPrefix, "konto.replay.account": ReplayPrefix, "konto.replay.": "konto.replay.", "crm": "crm.", "a.b-c_d.": "a.b-c_d.",
		"konto.account.": "", "konto.account": "", "konto.account.x": "", "konto": "", "konto.inbound.facts": "", "konto.replays": "",
		"KONTO": "", "Konto.account": "", "konto.Replay": "", "KONTO.replay": "", "kontor": "kontor.", "crm.konto": "crm.konto.", // NATS distinguishes case, people do not
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
	r := newFixture(t)
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

// An operator of an outside server may have given the stream more subjects than it should have.
func TestNothingIsReplayedIntoAStreamOfKontos(t *testing.T) {
	r := started(t)
	r.follow(r.publisher())
	r.inbound()
	for _, name := range []string{subjects.Stream, subjects.FactsStream, subjects.DeadLettersStream} {
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
	r := newFixture(t)
	r.account(1)
	srv := running(t, &server.Options{Users: []*server.User{{
		Username: "crm", Password: "crm", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{subjects.Replays}}},
	}}})
	outside, err := Dial(DialConfig{URL: strings.Replace(srv.ClientURL(), "://", "://crm:crm@", 1), Log: quiet})
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
