package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"konto/events"
)

// emailChange is an EmailChanged of the log.
type emailChange struct {
	account  string
	version  uint64
	position uint64
	email    string // the new one
}

// emailChanges lists them by the event's id, as an operator sees them.
func emailChanges(t testing.TB, folder string) map[string]emailChange {
	t.Helper()
	all := map[string]emailChange{}
	for _, line := range mustLines(t, "events", "list", "--type", "EmailChanged", "--data", folder) {
		all[line["id"].(string)] = emailChange{
			account:  strings.TrimPrefix(line["stream"].(string), events.CategoryAccount+"-"),
			version:  uint64(line["version"].(float64)),
			position: uint64(line["position"].(float64)),
			email:    line["data"].(map[string]any)["newEmail"].(string),
		}
	}
	return all
}

// checkDelivered holds what a third party got against the log: every event at
// least once, with its own id, and of each account none after a newer one. It
// returns how many requests were repetitions.
func checkDelivered(t testing.TB, e *endpoint, all map[string]emailChange) (repeated int) {
	t.Helper()
	latest, seen, taken := map[string]emailChange{}, map[string]bool{}, map[string]bool{}
	for _, r := range e.got() {
		c, known := all[r.id]
		if !known {
			t.Fatalf("%s got %q, which is no event", e.name, r.id)
		}
		if !strings.Contains(r.text, `"`+c.email+`"`) {
			t.Fatalf("%s got version %d of %s as another event", e.name, c.version, c.account)
		}
		if last := latest[c.account]; c.version < last.version {
			t.Fatalf("%s got version %d of %s after version %d", e.name, c.version, c.account, last.version)
		}
		latest[c.account] = c
		if seen[r.id] {
			repeated++
		}
		seen[r.id], taken[r.id] = true, taken[r.id] || r.taken
	}
	for id, c := range all {
		if !taken[id] {
			t.Fatalf("%s did not take version %d of %s, and took %d of %d", e.name, c.version, c.account, len(taken), len(all))
		}
	}
	return repeated
}

// patientRetry gives a third party that is down for a minute or two all it
// missed, in order, without an event being given up.
func patientRetry() string {
	return "0s,20ms,50ms,100ms" + strings.Repeat(",200ms", 20) + strings.Repeat(",1s", 200)
}

// freeAddress is one to serve on again and again.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// One third party is well, one fails half of its requests, one hangs for as long
// as the others receive them, one stops with requests under way and starts again;
// konto itself is killed five times meanwhile. All receive everything, in
// order, the one that hung once it is well again.
func TestEveryChangeIsDeliveredInOrderWhateverFails(t *testing.T) {
	folder := t.TempDir()
	owners := newOwners(t, folder, deliveredAccounts)
	chance := rand.New(rand.NewPCG(4, 2026))
	well := newEndpoint(t, "well", always(204))
	flaky := newEndpoint(t, "flaky", func() int { return 200 + 300*chance.IntN(2) })
	killed := newEndpoint(t, "killed", always(200))
	hanging := newEndpoint(t, "hanging", always(0))
	well.register(folder)
	flaky.register(folder, "--format", "payway", "--event", "EmailChanged")
	killed.register(folder, "--format", "payway-ssi")
	hanging.register(folder, "--format", "risc")

	s := &killable{t: t, folder: folder, endpoints: []*endpoint{well, flaky, killed, hanging}, args: []string{
		"--http", freeAddress(t), "--rate-limit", "off", "--third-party-allow", "127.0.0.0/8",
		"--third-party-timeout", "1s", "--third-party-retry", patientRetry(),
	}}
	s.start()
	began := time.Now()
	s.load = startLoad(t, s.url, owners, deliveredChanges)
	const kills = 5
	for i := range kills {
		s.load.until(deliveredChanges * (2*i + 1) / (2 * kills))
		if i%2 == 0 {
			killed.downMidway()
		} else {
			killed.back()
		}
		s.load.until(deliveredChanges * (2*i + 2) / (2 * kills)) // the last kill is one of a server that catches up
		s.killAndRestart()
	}
	s.load.all.Wait()
	killed.back()
	loaded := time.Since(began)

	all := emailChanges(t, folder)
	acked := s.load.checkAcknowledged(all)
	for _, e := range []*endpoint{well, flaky, killed} {
		e.untilTaken(len(all))
	}
	healthy := time.Since(began)
	hanging.until("hung for minutes", func() bool { return len(hanging.receipts) >= hangingRequests })
	if n := hanging.tookSoFar(); n > 0 {
		t.Errorf("the one that hangs took %d events", n)
	}
	hung := time.Since(began)
	hanging.answers(always(202))
	must(t, "third-party", "resume", hanging.name, "--data", folder)
	hanging.untilTaken(len(all))
	s.p.kill()

	t.Logf("%d changes in %s, %d of them acknowledged; konto was killed %d times; the healthy ones had all after %s; the hanging one hung for %s and had all after %s",
		len(all), loaded.Round(time.Millisecond), acked, kills, healthy.Round(time.Millisecond), hung.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	for _, e := range s.endpoints {
		repeated := checkDelivered(t, e, all)
		t.Logf("%-8s %6d requests, %6d events taken, %6d requests were repetitions", e.name, len(e.got()), e.tookSoFar(), repeated)
	}
	if len(all) < deliveredChanges {
		t.Errorf("only %d changes", len(all))
	}
}

// killable is a server that is killed and started again.
type killable struct {
	t         testing.TB
	folder    string
	args      []string
	endpoints []*endpoint
	p         *process
	url       string
	load      *emailLoad
}

func (s *killable) start() {
	s.t.Helper()
	s.p = startProcess(s.t, s.folder, s.args...)
	if s.url != "" && s.p.url != s.url {
		s.t.Fatalf("it was %s and is %s", s.url, s.p.url)
	}
	s.url = s.p.url
}

// killAndRestart ends it as a machine's failure does, with requests and
// deliveries under way.
func (s *killable) killAndRestart() {
	s.t.Helper()
	s.load.down()
	s.p.kill()
	for _, e := range s.endpoints {
		e.untilCutOff()
	}
	s.start()
	s.load.again()
}

// checkAcknowledged finds every acknowledged change in the log and returns how
// many there are.
func (l *emailLoad) checkAcknowledged(all map[string]emailChange) (n int) {
	l.t.Helper()
	stored := map[string]bool{}
	for _, c := range all {
		stored[fmt.Sprintf("%s/%d", c.account, c.version)] = true
	}
	for _, o := range l.owners {
		n += len(o.acked)
		for _, a := range o.acked {
			if !stored[fmt.Sprintf("%s/%d", o.account, a.version)] {
				l.t.Errorf("version %d of %s was acknowledged and is not in the log", a.version, o.account)
			}
		}
	}
	return n
}
