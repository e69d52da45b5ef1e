package natsserver

import (
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
	"konto/projections/nats"
	"konto/projections/nats/subjects"
)

// replay publishes the whole log again and returns how many events were published.
func (r *fixture) replay(cfg nats.ReplayConfig) (published int) {
	r.t.Helper()
	cfg.Conn = r.conn
	p, err := nats.NewReplay(r.t.Context(), cfg)
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

func TestConsumerReceivesReplaysAsTheEventsWerePublished(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	c := r.consumer(t, "billing")
	for prefix, begins := range map[string]string{"": "konto.replay.account.", "konto.replay.billing": "konto.replay.billing."} {
		sub, err := c.nc.SubscribeSync(begins + ">")
		must(t, err)
		must(t, c.nc.Flush())
		if n := r.replay(nats.ReplayConfig{Prefix: prefix}); n != 20 {
			t.Fatalf("published %d", n)
		}
		for _, live := range r.received() {
			m, err := sub.NextMsg(patience)
			must(t, err)
			if m.Subject != begins+strings.TrimPrefix(live.Subject, events.SubjectPrefix) || string(m.Data) != string(live.Data) {
				t.Fatalf("%s %s", m.Subject, m.Data)
			}
			if m.Header.Get("konto-replay") != "true" || m.Header.Get(jetstream.MsgIDHeader) != "" {
				t.Fatalf("%v", m.Header)
			}
			for name, value := range live.Header {
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
	received, err := crm.nc.SubscribeSync(subjects.Replays)
	must(t, err)
	must(t, crm.nc.Flush())
	c.refuses("konto.replay.account.01HXA3B4C5D6E7F8G9H0J1K2M3.EmailChanged", "forged")
	// An answer goes where the client wants it, but not out of its account.
	must(t, c.nc.PublishRequest("$JS.API.INFO", "konto.replay.forged", nil))
	must(t, c.nc.Flush())
	sender := r.sender(t, "registry")
	sender.refuses("konto.replay.account.01HXA3B4C5D6E7F8G9H0J1K2M3.EmailChanged", "forged")
	_, err = sender.nc.Subscribe(subjects.Replays, func(*natsgo.Msg) {})
	must(t, err)
	must(t, sender.nc.Flush())
	sender.violation("subscribe to replays")
	// The first message that arrives is the one that was sent after all of these.
	r.replay(nats.ReplayConfig{})
	m, err := received.NextMsg(patience)
	must(t, err)
	if m.Header.Get("ce-position") != "1" {
		t.Errorf("received %s %s", m.Subject, m.Data)
	}
}
