package natsserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
	"konto/projections/nats"
	"konto/projections/nats/subjects"
	"konto/projections/natstest"
)

// composed is a server with the configuration of docker-compose.yml.
func composed(t *testing.T) *server.Server {
	t.Helper()
	text := strings.ReplaceAll(natstest.Fill(natstest.Composed(t, "nats")), "/data", t.TempDir())
	file := filepath.Join(t.TempDir(), "nats.conf")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	opts, err := server.ProcessConfigFile(file)
	must(t, err)
	opts.Host, opts.Port, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true
	s, err := server.NewServer(opts)
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("server is not ready")
	}
	return s
}

func TestComposeFileGivesEachUserOnlyItsRights(t *testing.T) {
	srv := composed(t)
	as := func(user string) *consumer {
		t.Helper()
		c := &consumer{t: t, refused: make(chan error, 64)}
		var err error
		c.nc, err = natsgo.Connect(srv.ClientURL(), natsgo.UserInfo(user, user),
			natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { c.refused <- err }))
		must(t, err)
		t.Cleanup(c.nc.Close)
		c.js, err = jetstream.New(c.nc)
		must(t, err)
		return c
	}
	r := newFixture(t)
	url := strings.Replace(srv.ClientURL(), "://", "://konto:konto@", 1)
	var err error
	r.conn, err = nats.Dial(nats.DialConfig{URL: url, Log: quiet})
	must(t, err)
	t.Cleanup(r.conn.Close)
	r.connect(url)
	t.Cleanup(r.nc.Close)
	r.account(3, events.AccountErased{})
	r.follow(r.publisher())
	messages := r.facts(r.inbound())

	sender := as("sender")
	_, err = sender.js.Publish(t.Context(), subjects.Facts, []byte("fact"))
	must(t, err)
	m := next(t, messages)
	m.Ack()
	if m.Metadata.Get(nats.MetaSubject) != subjects.Facts+".registry" {
		t.Errorf("came on %s", m.Metadata.Get(nats.MetaSubject))
	}
	for _, subject := range []string{subjects.Facts + ".billing", subjects.DeadLetters, "konto.account.x.EmailChanged", "$JS.API.INFO", "$JS.API.STREAM.DELETE.KONTO"} {
		sender.refuses(subject, "{}")
	}

	crm := as("consumer")
	durable, err := crm.js.CreateOrUpdateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{Durable: "crm"})
	must(t, err)
	got, err := durable.Next()
	must(t, err)
	must(t, got.DoubleAck(t.Context()))
	for _, subject := range []string{subjects.Facts, subjects.Facts + ".registry", "$JS.API.STREAM.INFO.KONTO_INBOUND", "$JS.API.STREAM.PURGE.KONTO"} {
		crm.refuses(subject, "{}")
	}
	// Neither an answer nor a pulled message goes to a sender's subject.
	for _, ask := range []string{"$JS.API.INFO", "$JS.API.CONSUMER.MSG.NEXT.KONTO.crm"} {
		must(t, crm.nc.PublishRequest(ask, subjects.Facts+".registry", nil))
	}
	_, err = durable.Info(t.Context()) // answered after those
	must(t, err)
	_, err = sender.js.Publish(t.Context(), subjects.Facts, []byte("next"))
	must(t, err)
	m = next(t, messages)
	m.Ack()
	if string(m.Payload) != "next" {
		t.Errorf("a consumer had %q delivered in a sender's name", m.Payload)
	}
	if _, err := natsgo.Connect(srv.ClientURL()); !errors.Is(err, natsgo.ErrAuthorization) {
		t.Errorf("without a user: %v", err)
	}
}
