package natsserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

// creation returns the body of a request to create the consumer "c".
func creation(t testing.TB, change func(*server.ConsumerConfig)) []byte {
	t.Helper()
	req := server.CreateConsumerRequest{Stream: subjects.Stream, Config: server.ConsumerConfig{Name: "c", AckPolicy: server.AckExplicit}}
	change(&req.Config)
	body, err := json.Marshal(req)
	must(t, err)
	return body
}

// filters returns n subjects that do not overlap.
func filters(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("konto.account.%d.*", i)
	}
	return all
}

// passed returns what the gate asks of JetStream from now on.
func (r *fixture) passed() *natsgo.Subscription {
	r.t.Helper()
	sub, err := r.nc.SubscribeSync(apiPrefix + ">")
	must(r.t, err)
	must(r.t, r.nc.Flush())
	return sub
}

// api sends a request as a consumer, and returns the error of JetStream's API.
func (c *consumer) api(request, body string) *server.ApiError {
	c.t.Helper()
	answer, err := c.nc.Request(apiPrefix+request, []byte(body), patience)
	must(c.t, err)
	var read server.ApiResponse
	must(c.t, json.Unmarshal(answer.Data, &read))
	if want := requestOf(request).answer; read.Type != want {
		c.t.Errorf("%s is answered by type %q, want %q", request, read.Type, want)
	}
	return read.Error
}

func (c *consumer) refusedByGate(request, body, says string) {
	c.t.Helper()
	if err := c.api(request, body); err == nil || !strings.Contains(err.Description, says) || len(err.Description) > maxText {
		c.t.Errorf("%s: got %v, want %q", request, err, says)
	}
}

func TestEachPartOfAConsumersConfigurationIsBounded(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	ages := make(map[string]string)
	for i := range maxMetadata + 1 {
		ages[fmt.Sprint(i)] = ""
	}
	const year, century = 365 * 24 * time.Hour, 100 * 365 * 24 * time.Hour
	tests := []struct {
		says   string
		change func(*server.ConsumerConfig)
	}{
		{"a request must not be longer", func(c *server.ConsumerConfig) { c.FilterSubjects = filters(20_000) }},
		{"filter_subjects", func(c *server.ConsumerConfig) { c.FilterSubjects = filters(maxFilters + 1) }},
		{"filter_subjects", func(c *server.ConsumerConfig) { c.FilterSubjects = slices.Repeat(filters(1), maxFilters+1) }},
		{"filter_subjects", func(c *server.ConsumerConfig) { c.FilterSubjects = []string{long} }},
		{"filter_subject ", func(c *server.ConsumerConfig) { c.FilterSubject = strings.Repeat("*.", maxText) + "*" }},
		{"name", func(c *server.ConsumerConfig) { c.Name = long }},
		{"description", func(c *server.ConsumerConfig) { c.Description = long }},
		{"sample_freq", func(c *server.ConsumerConfig) { c.SampleFrequency = long }},
		{"metadata", func(c *server.ConsumerConfig) { c.Metadata = ages }},
		{"metadata", func(c *server.ConsumerConfig) {
			c.Metadata = map[string]string{"k": strings.Repeat("v", maxMetadataOf)}
		}},
		{"metadata", func(c *server.ConsumerConfig) {
			c.Metadata = map[string]string{strings.Repeat("k", maxMetadataOf+1): ""}
		}},
		{"backoff", func(c *server.ConsumerConfig) { c.BackOff = slices.Repeat([]time.Duration{time.Second}, maxBackoff+1) }},
		{"backoff", func(c *server.ConsumerConfig) { c.BackOff = []time.Duration{0} }},
		{"backoff", func(c *server.ConsumerConfig) { c.BackOff = []time.Duration{time.Nanosecond} }},
		{"backoff", func(c *server.ConsumerConfig) { c.BackOff = []time.Duration{time.Second, -1} }},
		{"backoff", func(c *server.ConsumerConfig) { c.BackOff = []time.Duration{century} }},
		{"ack_wait", func(c *server.ConsumerConfig) { c.AckWait = 1 }},
		{"ack_wait", func(c *server.ConsumerConfig) { c.AckWait = -time.Second }},
		{"ack_wait", func(c *server.ConsumerConfig) { c.AckWait = math.MaxInt64 }},
		{"priority_timeout", func(c *server.ConsumerConfig) { c.PinnedTTL = 1 }},
		{"priority_timeout", func(c *server.ConsumerConfig) { c.PinnedTTL = century }},
		{"priority_groups", func(c *server.ConsumerConfig) { c.PriorityGroups = slices.Repeat([]string{"g"}, maxGroups+1) }},
		{"priority_groups", func(c *server.ConsumerConfig) { c.PriorityGroups = []string{long} }},
		{"inactive_threshold", func(c *server.ConsumerConfig) { c.InactiveThreshold = maxIdle + 1 }},
		{"inactive_threshold", func(c *server.ConsumerConfig) { c.InactiveThreshold = -1 }},
		{"inactive_threshold", func(c *server.ConsumerConfig) { c.Name, c.Durable, c.InactiveThreshold = "", "billing", 2*year }},
		{"max_expires", func(c *server.ConsumerConfig) { c.MaxRequestExpires = century }},
		{"max_expires", func(c *server.ConsumerConfig) { c.MaxRequestExpires = -1 }},
		{"idle_heartbeat", func(c *server.ConsumerConfig) { c.Heartbeat = 1 }},
		{"max_ack_pending", func(c *server.ConsumerConfig) { c.MaxAckPending = -2 }},
		{"max_waiting", func(c *server.ConsumerConfig) { c.MaxWaiting = maxPulls + 1 }},
		{"max_waiting", func(c *server.ConsumerConfig) { c.MaxWaiting = -1 }},
		{"max_deliver", func(c *server.ConsumerConfig) { c.MaxDeliver = math.MinInt }},
		{"max_batch", func(c *server.ConsumerConfig) { c.MaxRequestBatch = math.MaxInt }},
		{"max_bytes", func(c *server.ConsumerConfig) { c.MaxRequestMaxBytes = -1 }},
		{"num_replicas", func(c *server.ConsumerConfig) { c.Replicas = 5 }},
		{"num_replicas", func(c *server.ConsumerConfig) { c.Replicas = -1 }},
	}
	r, _ := listening(t, "billing")
	c, asks := r.consumer(t, "billing"), r.passed()
	for _, test := range tests {
		c.refusedByGate(createPrefix+"c", string(creation(t, test.change)), test.says)
	}
	for says, body := range map[string]string{
		"a request must not be longer": `{"config":{"unknown":"` + strings.Repeat("x", maxRequest) + `"}}`,
		"cannot unmarshal":             `{"config":{"max_waiting":1e400}}`,
		"exceeded max depth":           strings.Repeat("[", maxRequest-2),
		"invalid character":            "\xff\xff",
		"unmarshal":                    `{"config":{"ack_policy":"` + strings.Repeat("x", maxRequest/2) + `"}}`,
	} {
		c.refusedByGate(createPrefix+"c", body, says)
	}
	must(t, r.nc.Flush())
	if n, _, _ := asks.Pending(); n != 0 {
		t.Errorf("JetStream got %d requests", n)
	}
}

// The bounds are above what clients ask for.
func TestConsumersWithinTheBoundsAreCreated(t *testing.T) {
	r, _ := listening(t, "billing")
	c := r.consumer(t, "billing")
	for name, cfg := range map[string]jetstream.ConsumerConfig{
		"defaults": {}, "as large as may be": {
			Durable: "billing", Description: strings.Repeat("d", maxText), FilterSubjects: filters(maxFilters),
			AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: maxBackoff + 1, BackOff: slices.Repeat([]time.Duration{minWait}, maxBackoff),
			MaxAckPending: maxPending, MaxWaiting: maxPulls, InactiveThreshold: maxWait, Replicas: 1,
			MaxRequestBatch: 1000, MaxRequestExpires: time.Minute, MaxRequestMaxBytes: 1 << 20,
			Metadata: map[string]string{"k": strings.Repeat("v", maxMetadataOf-1)},
		},
		"nothing pending":   {AckPolicy: jetstream.AckNonePolicy, MaxAckPending: -1, MaxDeliver: -1},
		"unlimited pending": {AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1},
		"group": {
			AckPolicy: jetstream.AckExplicitPolicy, PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{"g"}, PinnedTTL: time.Minute,
		},
		"from a time": {DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &time.Time{}, MemoryStorage: true},
	} {
		made, err := c.js.CreateConsumer(t.Context(), subjects.Stream, cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if pending := made.CachedInfo().Config.MaxAckPending; pending > maxPending || pending < 0 {
			t.Errorf("%s: %d messages may wait for an acknowledgement", name, pending)
		}
	}
	legacy, err := c.nc.JetStream()
	must(t, err)
	sub, err := legacy.PullSubscribe("konto.account.>", "", natsgo.BindStream(subjects.Stream))
	must(t, err)
	if got, err := sub.Fetch(20, natsgo.MaxWait(patience)); err != nil || len(got) != 20 {
		t.Errorf("got %d messages, %v", len(got), err)
	}
}

// The server compares each filter with each other: one such request kept one of its
// few goroutines busy for minutes.
func TestManyFiltersOfOneConsumerDoNotDelayTheOthers(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	billing, crm, asks := r.consumer(t, "billing"), r.consumer(t, "crm"), r.passed()
	body := creation(t, func(c *server.ConsumerConfig) { c.FilterSubjects = filters(20_000) })
	answers, err := billing.nc.SubscribeSync(billing.nc.NewInbox())
	must(t, err)
	for range 6 {
		must(t, billing.nc.PublishRequest(apiPrefix+createPrefix+"c", answers.Subject, body))
	}
	must(t, billing.nc.Flush())
	crm.unread("crm", 20)
	for range 6 {
		m, err := answers.NextMsg(patience)
		must(t, err)
		if !strings.Contains(string(m.Data), "must not be longer") {
			t.Errorf("answered %s", m.Data)
		}
	}
	must(t, r.nc.Flush())
	for {
		m, err := asks.NextMsg(time.Millisecond)
		if err != nil {
			break
		}
		if len(m.Data) > maxRequest {
			t.Errorf("JetStream got %d bytes on %s", len(m.Data), m.Subject)
		}
	}
}

func TestConsumerWithTooManyRequestsIsRefusedAndDelaysNoOther(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	billing, crm := r.consumer(t, "billing"), r.consumer(t, "crm")
	full := make(chan *natsgo.Msg) // as if billing's turn never came
	r.server.gate.mu.Lock()
	r.server.gate.queues["billing"] = full
	r.server.gate.mu.Unlock()
	for _, request := range []string{"INFO", "STREAM.NAMES", "STREAM.INFO.KONTO", "STREAM.MSG.GET.KONTO", infoPrefix + "c", deletePrefix + "c", createPrefix + "c"} {
		billing.refusedByGate(request, "{}", "wait already")
	}
	crm.unread("crm", 20)
}

func TestConsumersRequestsAreAnsweredInOrderAndOneAtATime(t *testing.T) {
	r, _ := listening(t, "billing")
	c, asks := r.consumer(t, "billing"), r.passed()
	answers, err := c.nc.SubscribeSync(c.nc.NewInbox())
	must(t, err)
	for i := range maxQueued / 2 {
		must(t, c.nc.PublishRequest(fmt.Sprintf("%s%s%d", apiPrefix, infoPrefix, i), answers.Subject, nil))
	}
	for i := range maxQueued / 2 {
		m, err := asks.NextMsg(patience)
		must(t, err)
		if want := fmt.Sprintf("%s%s%d", apiPrefix, infoPrefix, i); m.Subject != want {
			t.Fatalf("got %s, want %s", m.Subject, want)
		}
		_, err = answers.NextMsg(patience)
		must(t, err)
	}
}

func TestRequestsThatConcernAllAccountsAreRefused(t *testing.T) {
	r, _ := listening(t, "billing")
	c := r.consumer(t, "billing")
	subject := r.received()[0].Subject
	account := strings.Join(strings.Split(subject, ".")[:3], ".")
	for _, body := range []string{`{"subjects_filter":">"}`, `{"subjects_filter":"konto.account.*.ProfileUpdated"}`, `{"subjects_filter":"konto.account.>"}`, `{"Subjects_Filter":"*.>"}`} {
		c.refusedByGate("STREAM.INFO.KONTO", body, "must name one account")
	}
	for _, body := range []string{`{"seq":1,"next_by_subj":"konto.account.*.Nothing"}`, `{"last_by_subj":"konto.*.>"}`, `{"last_by_subj":"` + account + "." + strings.Repeat("x", maxText) + `"}`} {
		c.refusedByGate("STREAM.MSG.GET.KONTO", body, "of one account")
	}
	c.refusedByGate("STREAM.NAMES", `{"subject":"`+strings.Repeat("x", maxText+1)+`"}`, "must not be longer")
	for _, request := range []string{"INFO", "STREAM.NAMES", infoPrefix + "c", deletePrefix + "c"} {
		c.refusedByGate(request, strings.Repeat(" ", maxRequest+1), "must not be longer")
	}

	s, err := c.js.Stream(t.Context(), subjects.Stream)
	must(t, err)
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(account+".>"), jetstream.WithDeletedDetails(true))
	if err != nil || info.State.Subjects[subject] != 20 {
		t.Errorf("subjects of one account: %+v, %v", info, err)
	}
	for _, subject := range []string{subject, account + ".>", subjects.Accounts} {
		if _, err := s.GetLastMsgForSubject(t.Context(), subject); err != nil {
			t.Errorf("last message of %s: %v", subject, err)
		}
	}
	if name, err := c.js.StreamNameBySubject(t.Context(), subjects.Accounts); err != nil || name != subjects.Stream {
		t.Errorf("stream is called %q, %v", name, err)
	}
}

func TestEphemeralConsumersOfOneKeyAreBounded(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	c := r.consumer(t, "billing")
	create := func(c *consumer, name string) error {
		_, err := c.js.CreateOrUpdateConsumer(t.Context(), subjects.Stream, jetstream.ConsumerConfig{Name: name, MemoryStorage: true})
		return err
	}
	for i := range maxEphemerals {
		must(t, create(c, fmt.Sprint("e", i)))
	}
	var refused *jetstream.APIError
	if err := create(c, "more"); !errors.As(err, &refused) || refused.ErrorCode != jetstream.ErrorCode(server.JSMaximumConsumersLimitErr) {
		t.Errorf("one more: %v", err)
	}
	must(t, create(c, "e0")) // exists already
	c.unread("billing", 1)   // a durable is not among them
	must(t, create(r.consumer(t, "crm"), "theirs"))
	must(t, c.js.DeleteConsumer(t.Context(), subjects.Stream, "e0"))
	must(t, create(c, "more"))
	must(t, r.js.DeleteConsumer(t.Context(), subjects.Stream, "e1")) // as if it had expired
	must(t, create(c, "another"))
}

func TestConnectionsAndSubscriptionsAreBounded(t *testing.T) {
	r, _ := listening(t, "billing", "crm")
	for range maxConnections {
		r.consumer(t, "billing")
	}
	for _, token := range []string{"token-billing", "token2-billing"} {
		if _, err := natsgo.Connect(r.server.URL(), natsgo.Token(token)); !errors.Is(err, natsgo.ErrAuthorization) {
			t.Errorf("one more: %v", err)
		}
	}
	crm := r.consumer(t, "crm")
	lost := make(chan struct{}, 1)
	crm.nc.SetDisconnectErrHandler(func(*natsgo.Conn, error) { lost <- struct{}{} })
	for range maxSubscriptions + 1 {
		_, err := crm.nc.Subscribe(subjects.Accounts, func(*natsgo.Msg) {})
		must(t, err)
	}
	select {
	case err := <-crm.refused:
		if !errors.Is(err, natsgo.ErrMaxSubscriptionsExceeded) {
			t.Errorf("got %v", err)
		}
	case <-lost:
	case <-time.After(patience):
		t.Error("subscriptions are not bounded")
	}
}

// BenchmarkGate is what one request costs in the gate, without JetStream's own work.
func BenchmarkGate(b *testing.B) {
	for name, body := range map[string][]byte{
		"refused=20000filters": creation(b, func(c *server.ConsumerConfig) { c.FilterSubjects = filters(20_000) }),
		"refused=65filters":    creation(b, func(c *server.ConsumerConfig) { c.FilterSubjects = filters(maxFilters + 1) }),
		"passed=64filters":     creation(b, func(c *server.ConsumerConfig) { c.FilterSubjects = filters(maxFilters) }),
		"passed=default":       creation(b, func(*server.ConsumerConfig) {}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if len(body) <= maxRequest {
					if checked, err := checkCreate("billing", body); err == nil {
						_, err = json.Marshal(checked)
						must(b, err)
					}
				}
			}
		})
	}
}
