package nats

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

// outside returns a fixture with an outside server, on which somebody else made a stream.
func outside(t *testing.T, made jetstream.StreamConfig, log *lines) *fixture {
	t.Helper()
	r := newFixture(t)
	srv := outsideServer(t, "127.0.0.1:0", r.dir)
	var err error
	r.conn, err = Dial(DialConfig{URL: srv.ClientURL(), Log: slog.New(slog.NewTextHandler(log, nil))})
	must(t, err)
	t.Cleanup(r.conn.Close)
	made.Storage = jetstream.FileStorage
	_, err = r.conn.js.CreateStream(t.Context(), made)
	must(t, err)
	return r
}

func TestOperatorsSettingsThatKontoDidNotChooseAreLogged(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*jetstream.StreamConfig)
		says   string // "" for an operator's own choice
	}{
		"fewer messages":  {func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }, "did not choose: max_msgs (10)"},
		"fewer bytes":     {func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }, "did not choose: max_bytes (1048576)"},
		"fewer of a kind": {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, "did not choose: max_msgs_per_subject (1)"},
		"short messages":  {func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1 << 20 }, "did not choose: max_msg_size (1048576)"},
		"few consumers":   {func(c *jetstream.StreamConfig) { c.MaxConsumers = 2 }, "did not choose: max_consumers (2)"},
		"no deletes":      {func(c *jetstream.StreamConfig) { c.DenyDelete = true }, "did not choose: deny_delete (true)"},
		"no purge":        {func(c *jetstream.StreamConfig) { c.DenyPurge = true }, "did not choose: deny_purge (true)"},
		"other consumers": {func(c *jetstream.StreamConfig) { c.ConsumerLimits.MaxAckPending = 5 }, "did not choose: consumer_limits"},
		"a source":        {func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}} }, "did not choose: sources"},
		"a copy elsewhere": {func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "other.>"}
		}, "did not choose: republish"},
		"an hour":        {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "konto changed max_age (1h0m0s)"},
		"a refusal":      {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }, "konto changed discard (DiscardNew)"},
		"other subjects": {func(c *jetstream.StreamConfig) { c.Subjects = []string{"account.>"} }, "konto changed subjects"},
		"a long memory":  {func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }, "konto changed duplicate_window (1m0s)"},
		"interest":       {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, "konto changed retention (Interest)"},
		"no answers":     {func(c *jetstream.StreamConfig) { c.NoAck = true }, "konto changed no_ack (true)"},
		"other names": {func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "x.>"}
		}, "konto changed subject_transform"},
		"compression":    {func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression }, ""},
		"a description":  {func(c *jetstream.StreamConfig) { c.Description = "ours" }, ""},
		"direct reads":   {func(c *jetstream.StreamConfig) { c.AllowDirect = true }, ""},
		"any consumers":  {func(c *jetstream.StreamConfig) { c.MaxConsumers = -1 }, ""},
		"many consumers": {func(c *jetstream.StreamConfig) { c.MaxConsumers = 5000 }, ""},
		"what konto has": {func(c *jetstream.StreamConfig) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			log := &lines{}
			made := jetstream.StreamConfig{Name: subjects.Stream, Subjects: []string{subjects.Accounts}, Duplicates: duplicateWindow, MaxAge: defaultRetention, MaxConsumers: maxConsumers}
			test.change(&made)
			r := outside(t, made, log)
			r.account(3)
			r.follow(r.publisher())
			r.account(1)
			r.follow(r.publisher())
			warnings := strings.Join(r.conn.Warnings(), "\n")
			if test.says == "" {
				if warnings != "" {
					t.Errorf("warned of %s", warnings)
				}
				return
			}
			if !strings.Contains(warnings, "the stream KONTO is not as konto makes it: ") || !strings.Contains(warnings, test.says) {
				t.Errorf("warned of %q", warnings)
			}
			if n := strings.Count(log.String(), test.says); n != 1 {
				t.Errorf("logged %d times: %s", n, log)
			}
		})
	}
}

func TestUnusableStreamIsReported(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*jetstream.StreamConfig)
		says   string
	}{
		"a mirror": {func(c *jetstream.StreamConfig) {
			c.Subjects, c.Duplicates, c.Mirror = nil, 0, &jetstream.StreamSource{Name: "OTHER"}
		}, "the stream KONTO, which konto did not make, mirrors another stream"},
		"a work queue": {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "the stream KONTO cannot be changed to what konto needs (retention (WorkQueue))"},
		"a counter":    {func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true }, "counts, and keeps no events"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &lines{}
			made := jetstream.StreamConfig{Name: subjects.Stream, Subjects: []string{subjects.Accounts}, Duplicates: duplicateWindow, MaxAge: defaultRetention, MaxConsumers: maxConsumers}
			test.change(&made)
			r := outside(t, made, log)
			r.account(1)
			p := NewPublisher(PublisherConfig{Conn: r.conn, Cursors: r.cursors, Store: r.store, Log: slog.New(slog.NewTextHandler(log, nil))})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				p.Open(ctx)
			}()
			eventually(t, func() bool { return strings.Contains(p.Trouble(), test.says) })
			// Once it is gone, konto continues by itself.
			must(t, r.conn.js.DeleteStream(t.Context(), subjects.Stream))
			<-ended
			cancel()
			if p.Trouble() != "" || strings.Count(log.String(), test.says) != 1 {
				t.Errorf("trouble %q, log %s", p.Trouble(), log)
			}
			r.follow(p)
			r.holds(r.published(0))
		})
	}
}

func TestWarningEndsWhenTheStreamIsRepaired(t *testing.T) {
	made := jetstream.StreamConfig{Name: subjects.Stream, Subjects: []string{subjects.Accounts}, MaxMsgs: 10}
	r := outside(t, made, &lines{})
	p := r.publisher()
	r.account(1)
	r.follow(p)
	cfg := r.stream().CachedInfo().Config
	cfg.MaxMsgs = -1
	_, err := r.conn.js.UpdateStream(t.Context(), cfg)
	must(t, err)
	r.follow(p)
	if w := r.conn.Warnings(); slices.ContainsFunc(w, func(s string) bool { return strings.Contains(s, "max_msgs") }) {
		t.Errorf("still warns of %s", w)
	}
}
