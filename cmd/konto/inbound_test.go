package main

import (
	"fmt"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const factsSubject = "konto.inbound.facts"

// sender is a system that sends facts, with a key of its own.
type sender struct {
	t       *testing.T
	js      jetstream.JetStream
	conn    *natsgo.Conn
	key     map[string]any
	subject string
}

func newSender(t *testing.T, folder, nats, name string, options ...natsgo.Option) *sender {
	t.Helper()
	s := &sender{t: t, key: mustJSON(t, "key", "issue", "--data", folder, "--inbound", name), subject: factsSubject}
	s.js = jetStream(t, nats, s.key["token"].(string), options...)
	s.conn = s.js.Conn()
	return s
}

// send publishes one message and returns when it is acknowledged. Headers are
// names and values in turn.
func (s *sender) send(body string, headers ...string) {
	s.t.Helper()
	m := natsgo.NewMsg(s.subject)
	m.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	if _, err := s.js.PublishMsg(s.t.Context(), m); err != nil {
		s.t.Fatal(err)
	}
}

// recorded watches the facts that konto records from now on: the data of each.
func recorded(t *testing.T, folder, nats string) (next func() string) {
	t.Helper()
	key := mustJSON(t, "key", "issue", "--data", folder, "--consumer", "watch")
	each := follow(t, jetStream(t, nats, key["token"].(string)))
	return func() string {
		for {
			if m := each(); strings.HasSuffix(m.Subject(), ".FactsRecorded") {
				return string(m.Data())
			}
		}
	}
}

// factEvents are the facts in an account's history.
func factEvents(t *testing.T, folder, account string) (all []map[string]any) {
	t.Helper()
	for _, e := range mustLines(t, "account", "history", "--data", folder, account) {
		if e["type"] == "FactsRecorded.v1" {
			all = append(all, e)
		}
	}
	return all
}

func TestFactsOfOtherSystemsAreRecorded(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	folder := t.TempDir()
	_, _, nats := serve(t, folder)
	opened := mustJSON(t, "account", "open", "--data", folder, "--email", "anna@example.com")
	registry, next := newSender(t, folder, nats, "registry"), recorded(t, folder, nats)
	for i, ref := range []any{"anna@example.com", opened["id"], opened["clientId"], opened["accountId"], opened["paywayId"]} {
		registry.send(fmt.Sprintf(`{"account":%q,"activeDomains":%d}`, ref, i+1))
		if got, want := next(), fmt.Sprintf(`{"activeDomains":%d}`, i+1); got != want {
			t.Errorf("%s: recorded %s, want %s", ref, got, want)
		}
	}
	registry.send(`{"account":"anna@example.com","seNuDomains":1,"pendingOrder":"o-1","verified":true,"bankidName":"Anna"}`, "traceparent", trace, "tracestate", "congo=t6")
	if got := next(); got != `{"seNuDomains":1,"pendingOrder":"o-1","verified":true,"bankidName":"Anna"}` {
		t.Errorf("recorded %s", got)
	}
	if err := registry.conn.Publish(factsSubject, []byte(`{"account":"anna@example.com","pendingOrder":null,"bankidName":null}`)); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != `{"pendingOrder":null,"bankidName":null}` {
		t.Errorf("recorded %s", got)
	}
	all := factEvents(t, folder, "anna@example.com")
	e := all[5]
	actor := e["actor"].(map[string]any)
	if actor["kind"] != "inbound" || actor["id"] != "registry" || e["contract"] != "inbound" || e["trace"] != trace || !strings.HasPrefix(e["requestId"].(string), "req_") {
		t.Errorf("metadata %v", e)
	}
	token := mustJSON(t, "key", "issue", "--data", folder, "--consumer", "traced")["token"].(string)
	stream, err := jetStream(t, nats, token).Stream(t.Context(), "KONTO")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 7) // after the opening and five facts
	if err != nil || m.Header.Get("traceparent") != trace || m.Header.Get("tracestate") != "congo=t6" {
		t.Errorf("published %+v, %v", m, err)
	}
	if n := len(mustLines(t, "inbound", "dead-letters", "--data", folder)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// badFacts are messages that can never be recorded, and what is said of each.
func badFacts(id string) map[string]string {
	return map[string]string{
		`{"account":"canary@example.com"`:                                                   "the body is not valid JSON",
		`["canary@example.com"]`:                                                            "the body is not an object of facts",
		`{"account":"anna@example.com","canary":1,"verified":true}`:                         "a member is unknown",
		`{"account":"anna@example.com","verified":true,"verified":true}`:                    "a member is there twice",
		`{"account":"anna@example.com","activeDomains":"canary"}`:                           "the value of /activeDomains has the wrong type",
		`{"account":"anna@example.com"}`:                                                    "no fact is given",
		`{"verified":true}`:                                                                 "no account is named",
		`{"account":"canary","verified":true}`:                                              "the account is named neither by an id nor by an email address",
		`{"account":"canary@example.com","verified":true}`:                                  "there is no such account",
		`{"account":"` + id + `","verified":true}`:                                          "there is no such account",
		`{"account":"anna@example.com","activeDomains":-1}`:                                 "/activeDomains: The number cannot be negative.",
		`{"account":"anna@example.com","bankidName":"a\u0000canary"}`:                       "/bankidName: ",
		`{"account":"anna@example.com","bankidName":"` + strings.Repeat("a", 70_000) + `"}`: "the body is longer than 65536 bytes",
	}
}

func TestBadFactsBecomeDeadLettersAndDelayNothing(t *testing.T) {
	folder := t.TempDir()
	running, _, nats := serve(t, folder)
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
	registry, next := newSender(t, folder, nats, "registry"), recorded(t, folder, nats)
	bad := badFacts("01HXA3B4C5D6E7F8G9H0J1K2M3")
	for body := range bad {
		registry.send(body)
	}
	registry.send("\xff\xfe")
	registry.send(`{"account":"anna@example.com","activeDomains":7}`)
	if got := next(); got != `{"activeDomains":7}` {
		t.Errorf("recorded %s", got)
	}
	letters := mustLines(t, "inbound", "dead-letters", "--data", folder)
	if len(letters) != len(bad)+1 {
		t.Fatalf("%d dead letters of %d", len(letters), len(bad)+1)
	}
	for i, l := range letters {
		body, _ := l["body"].(string)
		reason := l["reason"].(string)
		if l["sequence"] != float64(i+1) || l["from"] != "registry" || l["time"] == nil {
			t.Errorf("dead letter %v", l)
		}
		if i == len(bad) {
			if l["bytes"] != "//4=" || reason != "the body is not valid JSON" {
				t.Errorf("dead letter that is not UTF-8: %v", l)
			}
			continue
		}
		whole := body
		if l["length"].(float64) > float64(len(body)) {
			whole += strings.Repeat("a", int(l["length"].(float64))-len(body)-2) + `"}`
		}
		want, ok := bad[whole]
		if !ok || want == "" || !strings.HasPrefix(reason, want) {
			t.Errorf("%.60s: %s, want %s", body, reason, want)
		}
		if strings.Contains(reason, "canary") {
			t.Errorf("reason quotes the message: %s", reason)
		}
	}
	if log := running.stderr.String(); strings.Contains(log, "canary") || strings.Contains(log, "@example.com") {
		t.Errorf("the log quotes messages: %s", log)
	}
	if last := mustLines(t, "inbound", "dead-letters", "--data", folder, "--limit", "1"); len(last) != 1 || last[0]["sequence"] != float64(len(bad)+1) {
		t.Errorf("the last one is %v", last)
	}
}

func TestDeadLetterIsRetried(t *testing.T) {
	folder := t.TempDir()
	_, _, nats := serve(t, folder)
	registry, next := newSender(t, folder, nats, "registry"), recorded(t, folder, nats)
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
	registry.send(`{"account":"bo@example.com","verified":true}`, "ce-id", "1")
	registry.send(`{"account":"anna@example.com","verified":true}`)
	next()
	must(t, "account", "open", "--data", folder, "--email", "bo@example.com")
	if got := mustJSON(t, "inbound", "retry", "1", "--data", folder); got["retried"] != true {
		t.Errorf("got %v", got)
	}
	next()
	all := factEvents(t, folder, "bo@example.com")
	if len(all) != 1 || all[0]["actor"].(map[string]any)["id"] != "registry" {
		t.Errorf("recorded %v", all)
	}
	if n := len(mustLines(t, "inbound", "dead-letters", "--data", folder)); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	refused(t, exitFailed, konto(t, "inbound", "retry", "1", "--data", folder), "there is no dead letter 1")
}

func TestInboundCommandsNeedTheServer(t *testing.T) {
	folder := furnished(t)
	for _, args := range [][]string{{"inbound", "dead-letters"}, {"inbound", "retry", "1"}} {
		refused(t, exitFailed, konto(t, append(args, "--data", folder)...), "and no server runs")
	}
}

func TestFactSentTwiceIsRecordedOnce(t *testing.T) {
	for name, header := range map[string]string{"CloudEvents": "ce-id", "JetStream": "Nats-Msg-Id"} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			first, _, nats := serve(t, folder)
			must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
			registry, next := newSender(t, folder, nats, "registry"), recorded(t, folder, nats)
			billing := newSender(t, folder, nats, "billing")
			fact := func(n int) string { return fmt.Sprintf(`{"account":"anna@example.com","activeDomains":%d}`, n) }
			expect := func(n int) {
				t.Helper()
				if got, want := next(), fmt.Sprintf(`{"activeDomains":%d}`, n); got != want {
					t.Errorf("recorded %s, want %s", got, want)
				}
			}
			registry.send(fact(1), header, "m-1")
			expect(1)
			registry.send(fact(2), header, "m-2")
			expect(2)
			registry.send(fact(1), header, "m-1") // would undo what was recorded since
			registry.send(fact(3), header, "m-3")
			expect(3)
			billing.send(fact(4), header, "m-1") // its own
			expect(4)
			if status := first.stop(); status != exitDone {
				t.Fatalf("ended with %d: %s", status, first.stderr)
			}
			_, _, nats = serve(t, folder)
			registry.js, next = jetStream(t, nats, registry.key["token"].(string)), recorded(t, folder, nats)
			for i := range 4 {
				expect(i + 1) // from the stream's beginning
			}
			registry.send(fact(1), header, "m-1")
			registry.send(fact(9), header, "m-2") // not what m-2 was
			registry.send(fact(5), header, "m-5")
			expect(5)
			letters := mustLines(t, "inbound", "dead-letters", "--data", folder)
			if len(letters) != 1 || letters[0]["reason"] != "its id is that of another message" {
				t.Errorf("dead letters %v", letters)
			}
		})
	}
}

// Facts are recorded in their order, each once, across an end in their midst.
func TestFactsKeepTheirOrderAcrossARestart(t *testing.T) {
	const all = 1000
	folder := t.TempDir()
	first, _, nats := serve(t, folder)
	id := mustJSON(t, "account", "open", "--data", folder, "--email", "anna@example.com")["id"].(string)
	registry, next := newSender(t, folder, nats, "registry"), recorded(t, folder, nats)
	for i := range all {
		if _, err := registry.js.PublishAsync(factsSubject, fmt.Appendf(nil, `{"account":%q,"activeDomains":%d}`, id, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	<-registry.js.PublishAsyncComplete()
	for range all / 10 {
		next()
	}
	if status := first.stop(); status != exitDone {
		t.Fatalf("ended with %d: %s", status, first.stderr)
	}
	before := len(factEvents(t, folder, id))
	if before == all {
		t.Fatal("all were recorded before the end")
	}
	_, _, nats = serve(t, folder)
	next = recorded(t, folder, nats)
	for i := range all {
		if got, want := next(), fmt.Sprintf(`{"activeDomains":%d}`, i+1); got != want {
			t.Fatalf("recorded %s, want %s (%d came before the end)", got, want, before)
		}
	}
	if n := len(factEvents(t, folder, id)); n != all {
		t.Errorf("%d facts in the log", n)
	}
}
