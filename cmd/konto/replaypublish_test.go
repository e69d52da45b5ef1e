package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"konto/events"
	"konto/eventstore/keyring"
)

// listener is a consumer that receives replays.
func listener(t *testing.T, folder, url, subject string) *natsgo.Subscription {
	t.Helper()
	token := mustJSON(t, "key", "issue", "--consumer", fmt.Sprintf("c%d", time.Now().UnixNano()), "--data", folder)["token"].(string)
	nc, err := natsgo.Connect(url, natsgo.Token(token))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return sub
}

// receives checks that the events at these positions come, in this order, and nothing else.
func receives(t *testing.T, sub *natsgo.Subscription, positions ...int) {
	t.Helper()
	for _, want := range positions {
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatalf("position %d: %v", want, err)
		}
		if got := m.Header.Get("ce-position"); got != fmt.Sprint(want) {
			t.Fatalf("position %s instead of %d", got, want)
		}
	}
	if n, _, _ := sub.Pending(); n != 0 {
		t.Errorf("%d messages too many", n)
	}
}

func TestReplayPublishesEventsAgain(t *testing.T) {
	folder := t.TempDir()
	_, _, url := serve(t, folder)
	in := func(args ...string) []string { return append(args, "--data", folder) }
	must(t, in("account", "open", "--email", "anna@example.com")...)                         // 1
	bo := mustJSON(t, in("account", "open", "--email", "bo@example.com")...)                 // 2
	must(t, in("account", "facts", "anna@example.com", "--active-domains", "1")...)          // 3
	must(t, in("key", "issue", "--account", "bo@example.com", "--scope", "read:account")...) // 4
	must(t, in("account", "facts", "bo@example.com", "--active-domains", "1")...)            // 5
	sub := listener(t, folder, url, "konto.replay.account.>")                                // 6
	publish := func(args ...string) map[string]any {
		t.Helper()
		return mustJSON(t, in(append([]string{"replay", "publish"}, args...)...)...)
	}
	for _, c := range []struct {
		args     []string
		received []int
		to       float64
	}{
		{[]string{"--from", "1"}, []int{1, 2, 3, 5}, 6},
		{[]string{"--from", "2", "--to", "3"}, []int{2, 3}, 3},
		{[]string{"--from", "1", "--type", "FactsRecorded"}, []int{3, 5}, 6},
		{[]string{"--from", "1", "--type", "FactsRecorded.v1", "--account", "bo@example.com"}, []int{5}, 6},
		{[]string{"--from", "1", "--to", "4", "--account", bo["id"].(string)}, []int{2}, 4},
		{[]string{"--from", "4", "--to", "4"}, nil, 4},
	} {
		said := publish(c.args...)
		receives(t, sub, c.received...)
		if said["published"] != float64(len(c.received)) || said["shredded"] != 0.0 || said["to"] != c.to || len(said) != 4 {
			t.Errorf("%v: %v", c.args, said)
		}
	}
	other := listener(t, folder, url, "konto.replay.crm.*.AccountOpened")
	publish("--from", "1", "--subject-prefix", "konto.replay.crm.")
	receives(t, other, 1, 2)
	receives(t, sub)
	for _, prefix := range []string{"konto.account.", "konto.account", "KONTO", "$JS.API"} {
		refused(t, exitFailed, konto(t, in("replay", "publish", "--from", "1", "--subject-prefix", prefix)...), "subject prefix cannot be used")
	}
	refused(t, exitFailed, konto(t, in("replay", "publish", "--from", "99")...), "last position is")
	refused(t, exitFailed, konto(t, in("replay", "publish", "--from", "1", "--to", "99")...), "last position is")
}

func TestNothingIsPublishedWithoutAServer(t *testing.T) {
	folder := t.TempDir()
	must(t, "account", "open", "--email", "anna@example.com", "--data", folder)
	refused(t, exitFailed, konto(t, "replay", "publish", "--from", "1", "--data", folder), "no server runs")
}

func TestReplayLeavesOutErasedAccounts(t *testing.T) {
	folder := t.TempDir()
	gone := lived(t, folder) // 10 events
	must(t, "account", "open", "--email", "bo@example.com", "--data", folder)
	master := keyring.Master{Path: filepath.Join(folder, "master.key")}
	keys, err := master.Open(t.Context(), filepath.Join(folder, "keys.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Destroy(t.Context(), events.AccountStream(gone)); err != nil {
		t.Fatal(err)
	}
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, url := serve(t, folder)
	sub := listener(t, folder, url, "konto.replay.account.>")
	if said := mustJSON(t, "replay", "publish", "--from", "1", "--to", "11", "--data", folder); said["published"] != 1.0 || said["shredded"] != 10.0 {
		t.Errorf("%v", said)
	}
	receives(t, sub, 11)
}

func TestReplayKeepsItsRateAndCanBeInterrupted(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	_, _, url := serve(t, folder)
	if r := konto(t, "account", "import", tenThousand(t, "m"), "--data", folder); r.status != exitDone {
		t.Fatal(r.stderr)
	}
	sub := listener(t, folder, url, "konto.replay.account.>")
	began := time.Now()
	if said := mustJSON(t, "replay", "publish", "--from", "1", "--to", "101", "--rate", "200/s", "--data", folder); said["published"] != 101.0 {
		t.Errorf("%v", said)
	}
	// The first two pass at once.
	if took := time.Since(began); took < 490*time.Millisecond {
		t.Errorf("101 events at 200/s took %s", took)
	}
	slow := start(t, "replay", "publish", "--from", "1", "--rate", "50/s", "--data", folder)
	for range 103 { // the slow one has begun
		if _, err := sub.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
	}
	if status := slow.stop(); status != exitFailed || slow.stderr.String() != "konto: interrupted\n" {
		t.Errorf("%d: %s", status, slow.stderr)
	}
	// As fast as it goes, all 10,000 arrive.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	all := listener(t, folder, url, "konto.replay.fast.>")
	if said := mustJSON(t, "replay", "publish", "--from", "1", "--to", "10000", "--subject-prefix", "konto.replay.fast", "--data", folder); said["published"] != 10000.0 {
		t.Errorf("%v", said)
	}
	for n := range 10_000 {
		m, err := all.NextMsg(patience)
		if err != nil {
			t.Fatalf("after %d: %v", n, err)
		}
		if m.Header.Get("ce-position") != fmt.Sprint(n+1) {
			t.Fatalf("%s in the place of %d", m.Header.Get("ce-position"), n+1)
		}
	}
}
