package main

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/projections/deliveries"
)

// newspaper is a data folder with one account, and a third party that was added
// after it and before the account changed.
type newspaper struct {
	t      *testing.T
	folder string
	party  ulid.ULID
	anna   ulid.ULID
	facts  []map[string]any // the events that the third party wants
}

func newNewspaper(t *testing.T, url string) *newspaper {
	t.Helper()
	n := &newspaper{t: t, folder: t.TempDir()}
	n.anna = ulid.MustParse(mustJSON(t, n.in("account", "open", "--email", "anna@example.com")...)["id"].(string))
	added := mustJSON(t, n.in("third-party", "add", "crm", "--url", url, "--event", "FactsRecorded")...)
	n.party = ulid.MustParse(added["id"].(string))
	n.happen()
	return n
}

func (n *newspaper) in(args ...string) []string { return append(args, "--data", n.folder) }

// happen records a fact.
func (n *newspaper) happen() {
	n.t.Helper()
	must(n.t, n.in("account", "facts", "anna@example.com", "--active-domains", fmt.Sprint(len(n.facts)+1))...)
	n.facts = mustLines(n.t, n.in("events", "list", "--type", "FactsRecorded")...)
}

// settle records the result of the newest fact, in the delivery store of a folder that no process
// holds.
func (n *newspaper) settle(outcome, answer string) {
	n.t.Helper()
	n.withDeliveryStore(func(l deliveries.Store) error {
		fact := n.facts[len(n.facts)-1]
		version, position := uint64(fact["version"].(float64)), uint64(fact["position"].(float64))
		now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		row := deliveries.Delivery{Account: n.anna, Version: version, Position: position}
		if outcome == deliveries.OutcomeRetrying {
			row = deliveries.Delivery{Account: n.anna, Version: version - 1, Attempts: 3, Since: now, Next: now.Add(time.Hour)}
		}
		err := l.Save(n.t.Context(), n.party, &row, &deliveries.Attempt{
			Party: n.party, Account: n.anna, Event: ulid.MustParse(fact["id"].(string)), Type: fact["type"].(string), Position: position,
			Number: 1, At: time.Now(), Outcome: outcome, Status: 200, Latency: 1500 * time.Microsecond, Excerpt: answer,
		})
		if err == nil {
			err = l.SetPosition(n.t.Context(), n.party, position)
		}
		return err
	})
}

func (n *newspaper) withDeliveryStore(do func(deliveries.Store) error) {
	n.t.Helper()
	h, err := datafolder.Open(n.t.Context(), datafolder.Config{Path: n.folder, Holder: "test"})
	if err != nil {
		n.t.Fatal(err)
	}
	if err := do(h.DeliveryStore); err != nil {
		n.t.Error(err)
	}
	if err := h.Close(); err != nil {
		n.t.Error(err)
	}
	if !datafolder.Missing(filepath.Join(n.folder, "deliveries.db-wal")) {
		n.t.Error("the delivery store was not closed")
	}
}

// account returns what show prints about the account.
func (n *newspaper) account() map[string]any {
	n.t.Helper()
	return mustJSON(n.t, n.in("third-party", "show", "crm", "--account", "anna@example.com")...)["account"].(map[string]any)
}

func TestDeliveriesAreListed(t *testing.T) {
	n := newNewspaper(t, "https://crm.example.com/")
	n.settle(deliveries.OutcomeRetrying, "busy \xff\x1b[31m")
	n.settle(deliveries.OutcomeDelivered, "thanks")
	all := mustLines(t, n.in("third-party", "deliveries")...)
	if len(all) != 2 {
		t.Fatalf("%d deliveries", len(all))
	}
	want := map[string]any{
		"thirdParty": "crm", "account": n.anna.String(), "event": n.facts[0]["id"], "type": "FactsRecorded.v1",
		"position": n.facts[0]["position"], "attempt": 1.0, "at": all[1]["at"], "status": "delivered", "httpStatus": 200.0,
		"latencyMs": 1.5, "answer": "thanks",
	}
	if !maps.Equal(all[1], want) {
		t.Errorf("printed %v\nwant    %v", all[1], want)
	}
	if all[0]["answer"] != "busy \uFFFD\x1b[31m" {
		t.Errorf("answer %q", all[0]["answer"])
	}
	if said := must(t, n.in("third-party", "deliveries", "crm")...); strings.Contains(said, "\x1b") || strings.Count(said, "\n") != 3 {
		t.Errorf("people read %q", said)
	}
	other := mustJSON(t, n.in("account", "open", "--email", "eva@example.com")...)["id"].(string)
	for want, args := range map[string][]string{
		"retrying, delivered": {"crm", "--account", "anna@example.com"},
		"delivered":           {"--limit", "1"},
		"retrying":            {n.party.String(), "--status", "retrying"},
		"":                    {"--account", other},
	} {
		var got []string
		for _, a := range mustLines(t, n.in(append([]string{"third-party", "deliveries"}, args...)...)...) {
			got = append(got, a["status"].(string))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%v: %v", args, got)
		}
	}
	refused(t, exitFailed, konto(t, n.in("third-party", "deliveries", "nobody")...), "there is no third party nobody")
	refused(t, exitUsage, konto(t, n.in("third-party", "deliveries", "--limit", "0")...), "--limit is at least 1")
	refused(t, exitUsage, konto(t, n.in("third-party", "deliveries", "--status", "lost")...), "delivered")
}

func TestShowReportsWhetherAThirdPartyIsInSync(t *testing.T) {
	n := newNewspaper(t, "https://crm.example.com/")
	expect := func(when string, inSync bool, members string) map[string]any {
		t.Helper()
		got := n.account()
		if got["inSync"] != inSync || strings.Join(slices.Sorted(maps.Keys(got)), " ") != members {
			t.Errorf("%s: %v", when, got)
		}
		return got
	}
	expect("not delivered yet", false, "id inSync last")
	n.settle(deliveries.OutcomeRetrying, "")
	if got := expect("failed", false, "attempts id inSync last nextTry"); got["nextTry"] != "2026-11-22T13:00:00Z" || got["attempts"] != 3.0 {
		t.Errorf("%v", got)
	}
	n.settle(deliveries.OutcomeFailed, "")
	expect("given up", false, "id inSync last")
	n.settle(deliveries.OutcomeDelivered, "")
	got := expect("delivered", true, "delivered id inSync last")
	for _, member := range []string{"event", "type", "version", "position"} {
		last, delivered := got["last"].(map[string]any), got["delivered"].(map[string]any)
		if want := n.facts[0][strings.Replace(member, "event", "id", 1)]; last[member] != want || delivered[member] != want {
			t.Errorf("%s of the last is %v, of the delivered %v, want %v", member, last[member], delivered[member], want)
		}
	}
	n.happen()
	got = expect("more happened", false, "delivered id inSync last")
	if got["delivered"].(map[string]any)["version"] != 2.0 || got["last"].(map[string]any)["version"] != 3.0 {
		t.Errorf("%v", got)
	}
	refused(t, exitFailed, konto(t, n.in("third-party", "show", "crm", "--account", "nobody@example.com")...), "there is no account nobody@example.com")
	refused(t, exitFailed, konto(t, n.in("third-party", "show", "crm", "--account", ulid.Make().String())...), "there is no account")
}

func TestEventsBeforeAThirdPartyWasAddedDoNotCount(t *testing.T) {
	n := newNewspaper(t, "https://crm.example.com/")
	must(t, n.in("third-party", "add", "late", "--url", "https://late.example.com/", "--event", "FactsRecorded")...)
	show := n.in("third-party", "show", "late", "--account", "anna@example.com")
	if got := mustJSON(t, show...)["account"].(map[string]any); got["inSync"] != true {
		t.Errorf("%v", got)
	}
	refused(t, exitFailed, konto(t, n.in("replay", "third-party", "late", "--from", "100")...), "late received the events up to position 4")
	must(t, n.in("replay", "third-party", "late", "--from", "1")...)
	if got := mustJSON(t, show...)["account"].(map[string]any); got["inSync"] != false {
		t.Errorf("is to receive earlier events, and yet %v", got)
	}
}

func TestReplayToAThirdPartySkipsNoEvent(t *testing.T) {
	n := newNewspaper(t, "https://crm.example.com/")
	n.settle(deliveries.OutcomeDelivered, "")
	position := int(n.facts[0]["position"].(float64))
	refused(t, exitFailed, konto(t, n.in("replay", "third-party", "crm", "--from", fmt.Sprint(position+1))...), fmt.Sprintf("up to position %d", position))
	refused(t, exitUsage, konto(t, n.in("replay", "third-party", "crm", "--from", "0")...), "positions count from 1")
	if said := mustJSON(t, n.in("replay", "third-party", "crm", "--from", fmt.Sprint(position))...); said["from"] != float64(position) || said["id"] != n.party.String() {
		t.Errorf("said %v", said)
	}
	n.withDeliveryStore(func(l deliveries.Store) error {
		at, ok, err := l.Position(t.Context(), n.party)
		if at != uint64(position)-1 || !ok {
			t.Errorf("it continues after position %d", at)
		}
		return err
	})
}

func TestTestEventPrintsTheAnswer(t *testing.T) {
	crm := newEndpoint(t, "crm", always(http.StatusNoContent))
	n := newNewspaper(t, "http://"+crm.address)
	must(t, n.in("third-party", "pause", "crm")...) // so that no deliveries come too
	requests := 0
	for name, begin := range map[string]func(t *testing.T) (flags []string){
		"without a server": func(*testing.T) []string { return []string{"--third-party-allow", "127.0.0.0/8"} },
		"with a server": func(t *testing.T) []string {
			serve(t, n.folder, "--third-party-allow", "127.0.0.0/8")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			test := n.in(append([]string{"third-party", "test", "crm"}, begin(t)...)...)
			for status, delivered := range map[int]bool{http.StatusNoContent: true, http.StatusTeapot: false} {
				crm.answers(always(status))
				r := konto(t, append(test, "--json")...)
				said := object(t, r.stdout)
				if said["delivered"] != delivered || said["httpStatus"] != float64(status) || said["latencyMs"].(float64) <= 0 {
					t.Errorf("answered %d, said %v", status, said)
				}
				if wrong := r.status != exitDone || r.stderr != ""; wrong == delivered {
					t.Errorf("answered %d, ended with %d: %s", status, r.status, r.stderr)
				}
				requests++
			}
		})
	}
	r := konto(t, n.in("third-party", "test", "crm", "--json")...)
	if said := object(t, r.stdout); r.status != exitFailed || r.stderr != "konto: the event was not delivered\n" || said["problem"] == "" {
		t.Errorf("an address that is not allowed: exit %d, %s, %s", r.status, r.stdout, r.stderr)
	}
	if got := len(crm.got()); got != requests {
		t.Errorf("%d requests came, want %d", got, requests)
	}
}

func TestRedeliveredEventKeepsItsID(t *testing.T) {
	crm := newEndpoint(t, "crm", always(http.StatusNoContent))
	n := newNewspaper(t, "http://"+crm.address)
	event := n.facts[0]["id"].(string)
	again := func(id string) []string {
		return n.in("third-party", "redeliver", "crm", id, "--third-party-allow", "127.0.0.0/8")
	}
	refused(t, exitFailed, konto(t, again(event)...), "still waits for its delivery to crm")
	n.settle(deliveries.OutcomeFailed, "")
	if said := mustJSON(t, again(event)...); said["event"] != event || said["delivered"] != true {
		t.Errorf("said %v", said)
	}
	if got := crm.got(); len(got) != 1 || got[0].id != event {
		t.Errorf("sent were %v, want %s", got, event)
	}
	if got := n.account(); got["inSync"] != true {
		t.Errorf("%v", got)
	}
	if all := mustLines(t, n.in("third-party", "deliveries", "crm")...); len(all) != 2 || all[1]["status"] != "delivered" {
		t.Errorf("the delivery log has %v", all)
	}
	opened := mustLines(t, n.in("events", "list", "--type", "AccountOpened")...)[0]["id"].(string)
	refused(t, exitFailed, konto(t, again(opened)...), "event "+opened+" is not one that crm receives")
	unknown := ulid.Make().String()
	refused(t, exitFailed, konto(t, again(unknown)...), "there is no event "+unknown)
	refused(t, exitFailed, konto(t, again("nonsense")...), "is not an event's id")
}

// The whole way: from a change through the server to an endpoint that fails at first.
func TestServerDeliversShowsAndReplays(t *testing.T) {
	fails := 1
	crm := newEndpoint(t, "crm", func() int {
		if fails--; fails >= 0 {
			return http.StatusInternalServerError
		}
		return http.StatusNoContent
	})
	n := newNewspaper(t, "http://"+crm.address)
	serve(t, n.folder, "--third-party-allow", "127.0.0.0/8", "--third-party-retry", "0s,1ms,1ms")
	received := func(facts ...int) {
		t.Helper()
		n.untilInSync()
		var got, want []string
		for _, r := range crm.got() {
			got = append(got, r.id)
		}
		for _, i := range facts {
			want = append(want, n.facts[i]["id"].(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("sent were %v\nwant      %v", got, want)
		}
	}
	received(0, 0)
	var statuses []string
	for _, a := range mustLines(t, n.in("third-party", "deliveries", "crm", "--account", "anna@example.com")...) {
		statuses = append(statuses, fmt.Sprint(a["status"], " ", a["httpStatus"], " ", a["attempt"]))
	}
	if !slices.Equal(statuses, []string{"retrying 500 1", "delivered 204 2"}) {
		t.Errorf("the delivery log has %q", statuses)
	}
	n.happen()
	received(0, 0, 1)
	must(t, n.in("replay", "third-party", "crm", "--from", "1")...)
	received(0, 0, 1, 0, 1)
	if said := mustJSON(t, n.in("third-party", "redeliver", "crm", "--older", n.facts[0]["id"].(string))...); said["delivered"] != true {
		t.Errorf("redelivery said %v", said)
	}
	received(0, 0, 1, 0, 1, 0)
}

// untilInSync waits until the third party knows the last of the account.
func (n *newspaper) untilInSync() {
	n.t.Helper()
	for deadline := time.Now().Add(patience); n.account()["inSync"] != true; {
		if time.Now().After(deadline) {
			n.t.Fatalf("still %v", n.account())
		}
	}
}
