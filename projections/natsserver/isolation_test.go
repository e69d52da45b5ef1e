package natsserver

import (
	"context"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

// unread makes a durable that has fetched n messages and acknowledged none.
func (c *consumer) unread(name string, n int) jetstream.Consumer {
	c.t.Helper()
	d, err := c.js.CreateOrUpdateConsumer(c.t.Context(), subjects.Stream, jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy})
	must(c.t, err)
	batch, err := d.Fetch(n, jetstream.FetchMaxWait(patience))
	must(c.t, err)
	for range batch.Messages() {
	}
	must(c.t, batch.Error())
	return d
}

// A client chooses the subject that an answer or a pulled message goes to, and the server checks no
// permission for it.
func TestAnswersAndDeliveriesStayInTheConsumersAccount(t *testing.T) {
	targets := []string{
		"konto.account.01HXA3B4C5D6E7F8G9H0J1K2M3.EmailChanged",
		"$JS.API.STREAM.PURGE.KONTO",
		"$JS.API.STREAM.DELETE.KONTO",
		"$JS.API.CONSUMER.DELETE.KONTO.crm",
		"$JS.API.CONSUMER.MSG.NEXT.KONTO.crm",
		"$JS.API.CONSUMER.CREATE.KONTO.crm",
		"$JS.ACK.KONTO.crm.1.1.1.1.0",
		gatePrefix + "crm.CONSUMER.CREATE.KONTO.crm",
	}
	r, _ := listening(t, "billing", "crm")
	crm := r.consumer(t, "crm")
	theirs := crm.unread("crm", 1)
	c := r.consumer(t, "billing")
	// Without headers and body a delivery is a request, or an acknowledgement.
	mine, err := c.js.CreateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{
		Durable: "billing", AckPolicy: jetstream.AckExplicitPolicy, HeadersOnly: true, FilterSubject: "konto.account.none",
	})
	must(t, err)
	all, err := c.js.CreateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, HeadersOnly: true})
	must(t, err)
	overheard, err := crm.nc.SubscribeSync(subjects.Accounts)
	must(t, err)
	must(t, crm.nc.Flush())
	for _, target := range targets {
		for subject, body := range map[string]string{
			"$JS.API.INFO":              "",
			"$JS.API.STREAM.INFO.KONTO": "",
			"$JS.API.CONSUMER.MSG.NEXT.KONTO." + mine.CachedInfo().Name: `{"batch":1,"no_wait":true}`,
			"$JS.API.CONSUMER.MSG.NEXT.KONTO." + all.CachedInfo().Name:  `{"batch":1}`,
			"$JS.ACK.KONTO." + mine.CachedInfo().Name + ".1.1.1.1.0":    "+ACK",
			"$JS.API.CONSUMER.CREATE.KONTO.none":                        "{}",
			"$JS.API.STREAM.MSG.GET.KONTO":                              `{"seq":1}`,
		} {
			must(t, c.nc.PublishRequest(subject, target, []byte(body)))
		}
	}
	// A pull that is answered comes after the others of its consumer, and an
	// acknowledgement that is answered after those of its.
	must(t, c.nc.Flush())
	for _, consumer := range []jetstream.Consumer{mine, all} {
		last, err := consumer.FetchNoWait(1)
		must(t, err)
		for range last.Messages() {
		}
	}
	_, err = crm.nc.Request("$JS.ACK.KONTO.crm.1.1.1.1.0", []byte("+WPI"), patience)
	must(t, err)
	info, err := theirs.Info(t.Context())
	must(t, err)
	if info.NumAckPending != 1 || info.AckFloor.Stream != 0 || info.Delivered.Consumer != 1 {
		t.Errorf("another's durable was touched: %+v", info)
	}
	if n := len(r.received()); n != 20 {
		t.Errorf("stream holds %d messages", n)
	}
	must(t, crm.nc.Flush())
	if n, _, _ := overheard.Pending(); n != 0 {
		t.Errorf("a plain subscriber got %d messages", n)
	}
}

func TestOneConsumerCannotReadAnothersAnswers(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	crm, c := r.consumer(t, "crm"), r.consumer(t, "billing")
	spy, err := crm.nc.SubscribeSync("_INBOX.>")
	must(t, err)
	own, err := c.nc.SubscribeSync("_INBOX.>")
	must(t, err)
	must(t, crm.nc.Flush())
	must(t, c.nc.Flush())
	c.unread("billing", 3)
	if _, err := own.NextMsg(patience); err != nil {
		t.Fatalf("the consumer's own inboxes: %v", err)
	}
	must(t, crm.nc.Flush())
	if n, _, _ := spy.Pending(); n != 0 {
		t.Fatalf("%d answers were overheard", n)
	}
}

func TestForbiddenConsumersAreRefused(t *testing.T) {
	tests := []struct{ name, subject, config, says string }{
		{"push into the stream", "push", `{"name":"push","deliver_subject":"konto.account.forged"}`, "push consumers are not offered"},
		{"push to a purge", "push", `{"name":"push","deliver_subject":"$JS.API.STREAM.PURGE.KONTO"}`, "push consumers are not offered"},
		{"push to a deletion", "push", `{"name":"push","deliver_subject":"$JS.API.STREAM.DELETE.KONTO"}`, "push consumers are not offered"},
		{"push to another's pull", "push", `{"name":"push","deliver_subject":"$JS.API.CONSUMER.MSG.NEXT.KONTO.crm"}`, "push consumers are not offered"},
		{"push to another's acknowledgements", "push", `{"name":"push","headers_only":true,"deliver_subject":"$JS.ACK.KONTO.crm.1.1.1.1.0"}`, "push consumers are not offered"},
		{"push in another spelling", "push", `{"name":"push","Deliver_Subject":"anything"}`, "push consumers are not offered"},
		{"push in a second object", "push", `{"name":"push"},"config":{"deliver_subject":"anything"}`, "push consumers are not offered"},
		{"durable of a name without a key", "future", `{"durable_name":"future"}`, "must be called billing"},
		{"durable under another's subject", "billing", `{"durable_name":"future"}`, "must be called billing"},
		{"ephemeral that stays", "e", `{"name":"e","inactive_threshold":9000000000000000}`, "inactive_threshold"},
		{"hidden", "e", `{"name":"e","direct":true}`, "not offered"},
		{"no JSON", "e", `{`, "unexpected end"},
	}
	r, _ := listening(t, "billing", "crm")
	c := r.consumer(t, "billing")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body := `{"stream_name":"KONTO","config":` + test.config + `}`
			if test.config == "{" {
				body = "{"
			}
			answer, err := c.nc.Request("$JS.API.CONSUMER.CREATE.KONTO."+test.subject, []byte(body), patience)
			must(t, err)
			if !strings.Contains(string(answer.Data), test.says) {
				t.Errorf("answered %s", answer.Data)
			}
		})
	}
	if info, err := r.stream(subjects.Stream).Info(t.Context()); err != nil || info.State.Consumers != 0 {
		t.Errorf("consumers were made: %+v, %v", info, err)
	}
}

func TestFirstKeyOfANameGetsItsDurable(t *testing.T) {
	r, a := listening(t, "billing")
	c := r.consumer(t, "billing")
	_, err := c.js.CreateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{Name: "future", InactiveThreshold: maxIdle, DeliverPolicy: jetstream.DeliverNewPolicy})
	must(t, err)
	a.set("billing", "future")
	must(t, r.server.Reserve("future"))
	future := r.consumer(t, "future")
	d := future.unread("future", 20)
	if info, err := d.Info(t.Context()); err != nil || info.Config.Durable != "future" {
		t.Fatalf("got %+v, %v", info, err)
	}
}

func TestOthersCannotUseTheDurableOfARevokedKey(t *testing.T) {
	r, a := listening(t, "billing", "crm")
	r.consumer(t, "crm").unread("crm", 1)
	a.set("billing")
	r.server.Disconnect("key-crm")
	c := r.consumer(t, "billing")
	for _, verb := range []string{"MSG.NEXT", "INFO", "DELETE", "CREATE"} {
		c.refuses("$JS.API.CONSUMER."+verb+".KONTO.crm", "{}")
	}
	c.refuses("$JS.ACK.KONTO.crm.1.1.1.1.0", "")
}

// What the README shows, unchanged: no option but the token.
func TestConsumesAndAcknowledgesWithDefaults(t *testing.T) {
	r, _ := listening(t, "crm")
	nc, err := natsgo.Connect(r.server.URL(), natsgo.Token("token-crm"))
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)
	d, err := js.CreateOrUpdateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{Durable: "crm"})
	must(t, err)
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	var got int
	consumed, err := d.Consume(func(m jetstream.Msg) {
		if !strings.HasPrefix(m.Subject(), "konto.account.") || m.Headers().Get("ce-id") == "" {
			t.Errorf("got %s %v", m.Subject(), m.Headers())
		}
		if err := m.DoubleAck(ctx); err != nil {
			t.Error(err)
		}
		if got++; got == 40 {
			done()
		}
	})
	must(t, err)
	defer consumed.Stop()
	r.account(20)
	r.follow(r.publisher())
	<-ctx.Done()
	if info, err := d.Info(t.Context()); err != nil || info.AckFloor.Stream != 40 || info.NumAckPending != 0 {
		t.Fatalf("got %d, %+v, %v", got, info, err)
	}
}

// These are the requests of the nats command line: nats stream ls, nats consumer ls KONTO, nats rtt.
func TestFirstMovesOfTheCommandLineShowNothingOfOthers(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	r.inbound()
	crm, c := r.consumer(t, "crm"), r.consumer(t, "billing")
	crm.unread("crm", 1)
	_, err := crm.js.CreateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{})
	must(t, err)
	c.unread("billing", 1)
	ephemeral, err := c.js.CreateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{})
	must(t, err)

	streams := c.js.ListStreams(t.Context())
	var found []string
	for info := range streams.Info() {
		found = append(found, info.Config.Name)
	}
	must(t, streams.Err())
	if strings.Join(found, " ") != subjects.Stream {
		t.Errorf("streams %s", found)
	}
	stream, err := c.js.Stream(t.Context(), subjects.Stream)
	must(t, err)
	names, infos := stream.ConsumerNames(t.Context()), stream.ListConsumers(t.Context())
	want := ephemeral.CachedInfo().Name + " billing"
	found = nil
	for name := range names.Name() {
		found = append(found, name)
	}
	must(t, names.Err())
	if strings.Join(found, " ") != want {
		t.Errorf("names %s, want %s", found, want)
	}
	found = nil
	for info := range infos.Info() {
		found = append(found, info.Name)
	}
	must(t, infos.Err())
	if strings.Join(found, " ") != want {
		t.Errorf("list %s, want %s", found, want)
	}
	_, err = c.nc.RTT()
	must(t, err)
}
