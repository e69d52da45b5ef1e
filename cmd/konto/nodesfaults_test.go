//go:build servers

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/events"
	"konto/eventstore/postgres/postgrestest"
	"konto/projections/nats/subjects"
)

// The suite's proof needs 20 failovers and ten of each other fault; one of each shows that the test
// itself works.
var (
	failovers  = flag.Int("failovers", 1, "how many primaries TestNodesLoseNothing kills")
	nodeKills  = flag.Int("nodekills", 1, "how many nodes it kills")
	nodePauses = flag.Int("nodepauses", 1, "how many nodes it pauses, for longer than their leases last")
	natsKills  = flag.Int("natskills", 1, "how many NATS servers it kills")
)

const (
	requestTime = time.Second     // how long the third party may take
	pauseTime   = 8 * time.Second // a lease of deliveries lasts 5 s and requestTime
)

// outage is a whole installation: Postgres with Patroni, NATS, three nodes, a third party, and
// callers.
type outage struct {
	*nodes
	t        *testing.T
	postgres *postgrestest.Patroni
	stream   jetstream.JetStream
	running  []*node
	third    *endpoint
	load     *nodesLoad
	resumed  []time.Time // when nodes went on after a pause
}

// Primaries, nodes and NATS servers fail while writers change accounts through all contracts. What
// was acknowledged is in the log once, on every node, in NATS once and in order, and has come to the
// third party in order.
func TestNodesLoseNothing(t *testing.T) {
	o := &outage{t: t, postgres: postgrestest.StartPatroni(t)}
	o.nodes = newNodes(t, o.postgres.URL())
	o.stream = operator(t, o.nats.URL("konto:konto@"))
	writers := newWriters(t, o.folder)
	o.third = newEndpoint(t, "shop", always(http.StatusNoContent))
	o.third.register(o.folder, "--event", "ProfileUpdated")
	for _, name := range []string{"a", "b", "c"} {
		o.running = append(o.running, o.start(t, name, "--third-party-timeout", requestTime.String(), "--third-party-retry", patientRetry()))
	}
	o.load = startNodesLoad(t, o.running, writers)
	o.load.flows(5)
	stalls := map[string][]time.Duration{}
	for i, f := range o.faults() {
		o.load.stalled()
		began := time.Now()
		what := f.do(f.turn)
		o.load.flows(3)
		o.answersAgain()
		stall := o.load.stalled()
		stalls[f.kind] = append(stalls[f.kind], stall)
		t.Logf("%d, %s: all is well after %s; no acknowledgement for %s; %d updates so far",
			i+1, what, time.Since(began).Round(time.Second), stall, o.load.acknowledged())
		if t.Failed() {
			break
		}
	}
	for kind, all := range stalls {
		slices.Sort(all)
		t.Logf("%d %s: no acknowledgement for %s to %s, median %s", len(all), kind, all[0], all[len(all)-1], all[len(all)/2])
	}
	o.load.end()
	o.check()
}

// fault is something that fails. do returns what it did, and is given how many of its kind came before.
type fault struct {
	kind string
	do   func(turn int) string
	turn int
}

// faults returns all faults in a random order.
func (o *outage) faults() (all []fault) {
	add := func(n int, kind string, do func(int) string) {
		for i := range n {
			all = append(all, fault{kind, do, i})
		}
	}
	add(*failovers, "failovers", o.killPrimary)
	add(*nodeKills, "kills of nodes", o.killNode)
	add(*nodePauses, "pauses of nodes", o.pauseNode)
	add(*natsKills, "kills of NATS servers", o.killNATS)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (o *outage) killPrimary(int) string {
	promoted := o.postgres.KillPrimary(o.t)
	o.load.flows(1) // while the old primary is made a standby
	ctx, cancel := context.WithTimeout(o.t.Context(), 3*patience)
	defer cancel()
	if err := o.postgres.WaitHealthy(ctx); err != nil {
		o.t.Fatal(err)
	}
	return "a failover to " + promoted.Name
}

// leases are what a node does for all. A fault hits the node that has one of them, in turn.
var leases = []string{"publisher", "deliveries/"}

func (o *outage) killNode(i int) string {
	lease := leases[i%2]
	n := o.holder(lease)
	n.kill()
	o.load.flows(1) // without it
	n.again(o.t)
	return fmt.Sprintf("node %s, which had %s, killed", n.name, lease)
}

func (o *outage) pauseNode(i int) string {
	lease := leases[(i+1)%2]
	n := o.holder(lease)
	n.pause(pauseTime)
	o.resumed = append(o.resumed, time.Now())
	return fmt.Sprintf("node %s, which had %s, paused", n.name, lease)
}

// killNATS kills the leader of the stream.
func (o *outage) killNATS(int) string {
	var leader string
	o.await("the stream has no leader", func() bool {
		stream, err := o.stream.Stream(o.t.Context(), subjects.Stream)
		if err != nil {
			return false
		}
		leader = stream.CachedInfo().Cluster.Leader
		return leader != ""
	})
	server := o.nats.Named(o.t, leader)
	server.Kill(o.t)
	o.load.flows(3) // without it
	server.Start(o.t)
	server.Ready(o.t)
	return "NATS server " + server.Name + " killed"
}

// holder waits until a node has a lease, and returns the node.
func (o *outage) holder(lease string) (holder *node) {
	o.await("nobody has the lease "+lease, func() bool {
		for _, line := range mustLines(o.t, "nodes", "--data", o.folder) {
			for _, name := range line["leases"].([]any) {
				if strings.HasPrefix(name.(string), lease) {
					at := slices.IndexFunc(o.running, func(n *node) bool { return n.name == line["name"] })
					holder = o.running[at]
				}
			}
		}
		return holder != nil
	})
	return holder
}

// await polls: what it waits for is in other processes.
func (o *outage) await(never string, done func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(2 * patience); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.t.Fatal(never)
		}
	}
}

// answersAgain waits until every node is healthy.
func (o *outage) answersAgain() {
	o.t.Helper()
	for _, n := range o.running {
		o.await("node "+n.name+" is not healthy", func() bool {
			answer, err := o.load.client.Get(n.address() + "/healthz")
			if err != nil {
				return false
			}
			defer answer.Body.Close()
			return answer.StatusCode == http.StatusOK
		})
	}
}

// check compares what everybody has with what was acknowledged, and stops the nodes.
func (o *outage) check() {
	o.await("nodes stay behind the log", func() bool {
		all := mustLines(o.t, "nodes", "--data", o.folder)
		return len(all) == len(o.running) && !slices.ContainsFunc(all, func(line map[string]any) bool { return line["behind"].(float64) > 0 })
	})
	for _, r := range o.load.roamers {
		var first accountShown
		for i, n := range o.running {
			s, err := r.shown(o.load.client, n)
			if err != nil {
				o.t.Errorf("node %s: %v", n.name, err)
				continue
			}
			r.checkShown(n, s)
			if i == 0 {
				first = s
			}
			if s != first {
				o.t.Errorf("node %s shows %+v, node %s %+v", o.running[0].name, first, n.name, s)
			}
		}
	}
	logged := o.checkLog()
	o.checkStream(logged)
	o.checkThirdParty(logged)
	for _, n := range o.running {
		n.stop(o.t)
		o.verify(n)
	}
}

// verify checks the chain, and the read model that a node left.
func (o *outage) verify(n *node) {
	ctx, cancel := context.WithTimeout(o.t.Context(), 10*patience)
	defer cancel()
	var out bytes.Buffer
	if status := run(ctx, []string{"verify", "--data", n.folder}, strings.NewReader(""), &out, &out); status != 0 {
		o.t.Errorf("verify on node %s: exit %d: %s", n.name, status, &out)
	}
}

// loggedEvent is an event of an account.
type loggedEvent struct {
	id      string
	account ulid.ULID
	version uint64
	update  bool // it is not the event with which the account begins
}

// checkLog finds each acknowledged update in the log once, at the version that its answer named, and
// no update that was not sent. It returns the events of accounts in their order.
func (o *outage) checkLog() (logged []loggedEvent) {
	folder, err := datafolder.Open(o.t.Context(), datafolder.Config{
		Path: o.folder, Holder: "test", Postgres: datafolder.Postgres{Store: o.store},
	})
	if err != nil {
		o.t.Fatal(err)
	}
	defer folder.Close()
	stored := map[ulid.ULID]map[int]uint64{} // versions by account and value
	last := map[ulid.ULID]uint64{}
	for position := uint64(0); ; {
		page, err := folder.Store.ReadAll(o.t.Context(), position, datafolder.PageSize)
		if err != nil {
			o.t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if e.Position != position+1 {
				o.t.Fatalf("position %d follows %d", e.Position, position)
			}
			position = e.Position
			if e.Stream.Category() != events.CategoryAccount {
				continue
			}
			account := ulid.MustParse(strings.TrimPrefix(string(e.Stream), events.CategoryAccount+"-"))
			if e.Version != last[account]+1 {
				o.t.Errorf("version %d follows %d in %s", e.Version, last[account], e.Stream)
			}
			last[account] = e.Version
			logged = append(logged, loggedEvent{e.ID.String(), account, e.Version, e.Version > 1})
			if e.Version == 1 {
				stored[account] = map[int]uint64{}
				continue
			}
			found := storedValue.FindStringSubmatch(string(e.Data))
			if found == nil {
				o.t.Fatalf("version %d of %s has no value: %s", e.Version, e.Stream, e.Data)
			}
			value, _ := strconv.Atoi(found[1])
			if earlier, twice := stored[account][value]; twice {
				o.t.Errorf("value %d of %s is at version %d and at version %d", value, e.Stream, earlier, e.Version)
			}
			stored[account][value] = e.Version
		}
	}
	acknowledged, unknown, kept := 0, 0, 0
	for _, r := range o.load.roamers {
		sent := stored[r.account]
		for _, a := range r.acked {
			if version, ok := sent[a.value]; !ok || version != a.version {
				o.t.Errorf("%s %s: value %d was acknowledged at version %d, and is at version %d of the log", r.method, r.path, a.value, a.version, version)
			}
			delete(sent, a.value)
		}
		acknowledged += len(r.acked)
		unknown += len(r.unknown)
		for value, version := range sent {
			if !r.unknown[value] {
				o.t.Errorf("version %d of %s has value %d, which nobody sent", version, r.account, value)
			}
			kept++
		}
	}
	o.t.Logf("%d updates acknowledged, %d repetitions under an Idempotency-Key, %d updates without an answer, %d of them stored; %d refusals with 500 or 503; %d reads on other nodes",
		acknowledged, o.load.repeated.Load(), unknown, kept, o.load.refused.Load(), o.load.reads.Load())
	return logged
}

// checkStream expects the stream to have each event of an account once, in the order of the log.
func (o *outage) checkStream(logged []loggedEvent) {
	ctx, cancel := context.WithTimeout(o.t.Context(), 3*patience)
	defer cancel()
	var held uint64
	o.await("not everything is published", func() bool {
		stream, err := o.stream.Stream(ctx, subjects.Stream)
		if err != nil {
			return false
		}
		held = stream.CachedInfo().State.Msgs
		return held >= uint64(len(logged))
	})
	if held != uint64(len(logged)) {
		o.t.Errorf("the stream has %d messages, the log %d events of accounts", held, len(logged))
	}
	next := follow(o.t, o.stream)
	for i, want := range logged {
		if id := next().Headers().Get("ce-id"); id != want.id {
			o.t.Fatalf("message %d is event %s, not %s", i+1, id, want.id)
		}
	}
	o.t.Logf("the stream has the %d events of accounts, each once, in the order of the log", len(logged))
}

// checkThirdParty expects each update to have been taken, and no request after one for a later
// version of its account. A node that was paused between its last look at the lease and the request
// may send one that it had begun before: only what was sent already, and only when it goes on.
func (o *outage) checkThirdParty(logged []loggedEvent) {
	updates := map[string]loggedEvent{}
	for _, e := range logged {
		if e.update {
			updates[e.id] = e
		}
	}
	o.third.untilTaken(len(updates))
	seen, newest := map[string]bool{}, map[ulid.ULID]uint64{}
	repeated, late := 0, 0
	for _, r := range o.third.got() {
		e, known := updates[r.id]
		switch {
		case !known:
			o.t.Fatalf("the third party got %q, which is no update", r.id)
		case !seen[r.id] && e.version != newest[e.account]+1 && newest[e.account] > 0:
			o.t.Errorf("the third party got version %d of %s after version %d", e.version, e.account, newest[e.account])
		case e.version < newest[e.account]:
			late++
			if !slices.ContainsFunc(o.resumed, func(at time.Time) bool { return r.at.Sub(at).Abs() < requestTime }) {
				o.t.Errorf("the third party got version %d of %s again after version %d", e.version, e.account, newest[e.account])
			}
		case seen[r.id]:
			repeated++
		}
		seen[r.id], newest[e.account] = true, max(newest[e.account], e.version)
	}
	o.t.Logf("the third party took %d events; %d requests were repetitions, %d of a node that was paused", len(updates), repeated, late)
}

// operator connects to NATS with konto's own rights.
func operator(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	conn, err := natsgo.Connect(url, natsgo.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
