//go:build servers

package deliveries

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"konto/events"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
	"konto/projections/webhook"
)

func openDatabase(t testing.TB, url string) *postgres.Database {
	t.Helper()
	db, err := postgres.Open(context.Background(), postgres.Config{URL: url, Unreplicated: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func newPostgresHarness(t testing.TB, s *postgrestest.Server, bounds ...FileConfig) *storeHarness {
	b := prepareStore(t, bounds...)
	db := openDatabase(t, s.Database(t))
	b.openStore = func() (Store, error) {
		return NewPostgres(PostgresConfig{
			Database: db, Keys: b.config.Keys, Node: "a",
			MaxAttempts: b.config.MaxAttempts, MaxAge: b.config.MaxAge, Now: b.config.Now,
		})
	}
	b.count = func() (n int) {
		b.must(db.Read(t.Context(), func(batch *pgx.Batch) {
			batch.Queue("SELECT count(*) FROM cluster.attempt").QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
		}))
		return n
	}
	b.open()
	return b
}

func TestPostgres(t *testing.T) {
	primary := postgrestest.Primary(t)
	for name, test := range storeContract {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, bounds ...FileConfig) *storeHarness {
				return newPostgresHarness(t, primary, bounds...)
			})
		})
	}
	for name, test := range map[string]func(*testing.T, *postgrestest.Server){
		"ChangesOfAnEarlierHolderAreRefused":                   testChangesOfAnEarlierHolderAreRefused,
		"OneNodeSendsUntilItStops":                             testOneNodeSendsUntilItStops,
		"NodeThatIsCutOffIsReplacedAndNeverSendsAtTheSameTime": testNodeThatIsCutOffIsReplacedAndNeverSendsAtTheSameTime,
		"RewindByAnotherProcessIsObeyed":                       testRewindByAnotherProcessIsObeyed,
		"NodeThatTakesOverObeysWhatIsInTheLog":                 testNodeThatTakesOverObeysWhatIsInTheLog,
	} {
		t.Run(name, func(t *testing.T) { test(t, primary) })
	}
}

func TestNewPostgresRejectsIncompleteConfigurations(t *testing.T) {
	db, keys := &postgres.Database{}, newStoreHarness(t).keys
	for name, cfg := range map[string]PostgresConfig{
		"database": {Keys: keys, Node: "a"},
		"keys":     {Database: db, Node: "a"},
		"node":     {Database: db, Keys: keys},
		"timeout":  {Database: db, Keys: keys, Node: "a", Timeout: -1},
		"attempts": {Database: db, Keys: keys, Node: "a", MaxAttempts: -1},
		"age":      {Database: db, Keys: keys, Node: "a", MaxAge: -1},
	} {
		if _, err := NewPostgres(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A holder that does not know that it has lost the lease changes nothing, and learns it. Rewind makes
// it lose the lease.
func testChangesOfAnEarlierHolderAreRefused(t *testing.T, primary *postgrestest.Server) {
	b := newPostgresHarness(t, primary)
	other := ulid.Make()
	e, later := b.happen(), b.happen()
	for name, change := range map[string]func(s Held, party ulid.ULID) error{
		"Save": func(s Held, party ulid.ULID) error {
			r := b.result(party, later, OutcomeDelivered, "")
			return s.Save(t.Context(), party, &r.Delivery, &r.Attempt)
		},
		"SetPosition":   func(s Held, party ulid.ULID) error { return s.SetPosition(t.Context(), party, later.Position) },
		"ResetSchedule": func(s Held, party ulid.ULID) error { return s.ResetSchedule(t.Context(), party) },
		"DeleteParty":   func(s Held, party ulid.ULID) error { return s.DeleteParty(t.Context(), party) },
	} {
		party := ulid.Make()
		b.must(b.SetPosition(t.Context(), party, later.Position))
		b.save(b.result(party, e, OutcomeRetrying, ""))
		err := b.Hold(t.Context(), party, func(held context.Context, s Held) error {
			b.must(s.SetPosition(t.Context(), party, later.Position))
			b.must(b.Rewind(t.Context(), party, e.Position))
			var all sync.WaitGroup
			for range 20 { // a refusal costs those who share its transaction nothing
				all.Go(func() { b.must(b.SetPosition(t.Context(), other, 1)) })
			}
			if err := change(s, party); !errors.Is(err, postgres.ErrLeaseLost) {
				t.Errorf("%s: %v", name, err)
			}
			all.Wait()
			<-held.Done()
			return nil
		})
		if !errors.Is(err, postgres.ErrLeaseLost) {
			t.Errorf("%s: Hold returned %v", name, err)
		}
		if got := b.position(party); got != int(e.Position) {
			t.Errorf("%s: position %d", name, got)
		}
		if b.delivery(party, account(later)) != (Delivery{}) || b.delivery(party, account(e)).Attempts != 1 {
			t.Errorf("%s: rows changed", name)
		}
	}
}

// cluster is a harness whose third parties several nodes may send to.
type cluster struct {
	*harness
	primary *postgrestest.Server
	url     string
	timeout time.Duration // of requests; leases last some seconds longer
	got     chan request
}

func newCluster(t *testing.T, primary *postgrestest.Server, timeout time.Duration) *cluster {
	c := &cluster{harness: newHarness(t), primary: primary, timeout: timeout, got: make(chan request, 1000)}
	c.url = c.primary.Database(t)
	c.db = c.store("admin", openDatabase(t, c.url))
	c.answer(func(r request) webhook.Answer {
		c.got <- r
		return delivered(r)
	})
	return c
}

func (c *cluster) store(node string, db *postgres.Database) Store {
	c.t.Helper()
	store, err := NewPostgres(PostgresConfig{Database: db, Keys: c.keys, Node: node, Timeout: c.timeout})
	c.must(err)
	return store
}

// node is one of a cluster.
type node struct {
	*Deliveries
	end     func() // begins to stop
	stop    func()
	metrics *prometheus.Registry
}

// sender sends for a node.
type sender struct {
	*harness
	node string
}

func (s sender) Send(ctx context.Context, party events.ThirdParty, e events.Event) webhook.Answer {
	return s.sendFrom(ctx, s.node, party, e)
}

// start runs a node. It follows the log from when follow is closed.
func (c *cluster) start(name, url string, follow <-chan struct{}) *node {
	c.t.Helper()
	n := &node{metrics: prometheus.NewPedanticRegistry()}
	cfg := c.cfg
	cfg.Store, cfg.Records, cfg.Parties, cfg.Registry = c.harness.store, c.log, c, c
	cfg.DB, cfg.Sender, cfg.Metrics = c.store(name, openDatabase(c.t, url)), sender{c.harness, name}, n.metrics
	cfg.Log = slog.New(slog.DiscardHandler)
	var err error
	n.Deliveries, err = New(cfg)
	c.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	running.Go(func() {
		select {
		case <-follow:
			n.Follower().Run(ctx)
		case <-ctx.Done():
		}
	})
	n.end = cancel
	n.stop = func() {
		cancel()
		running.Wait()
	}
	c.t.Cleanup(n.stop)
	return n
}

var atOnce = func() chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}()

// next returns the next request.
func (c *cluster) next() request {
	c.t.Helper()
	select {
	case r := <-c.got:
		return r
	case <-time.After(time.Minute):
		c.t.Fatal("nothing is sent")
		panic("unreachable")
	}
}

// expect expects the next requests to be of an account, from a node, in order.
func (c *cluster) expect(node string, account ulid.ULID, versions ...uint64) {
	c.t.Helper()
	for _, version := range versions {
		if r := c.next(); r.node != node || r.account != account || r.version != version {
			c.t.Errorf("node %s sent version %d of %s, want node %s and version %d of %s", r.node, r.version, r.account, node, version, account)
		}
	}
}

// await waits until a condition holds that nothing signals.
func (c *cluster) await(what string, holds func() bool) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("never: %s", what)
		}
	}
}

func (c *cluster) awaitState(n *node, state string) {
	c.t.Helper()
	c.await("state "+state, func() bool {
		all := n.Status()
		return len(all) == 1 && all[0].State == state
	})
}

// The lease lasts for more than an hour here: the second node gets it because the first one stops.
func testOneNodeSendsUntilItStops(t *testing.T, primary *postgrestest.Server) {
	c := newCluster(t, primary, time.Hour)
	party, anna, eva := c.add("crm"), c.open(), c.open()
	a := c.start("a", c.url, atOnce)
	c.change(anna, 1)
	c.expect("a", anna, 2)
	b := c.start("b", c.url, atOnce)
	c.awaitState(b, StateElsewhere)
	for version := range uint64(20) {
		c.change(anna, 1)
		c.expect("a", anna, version+3)
	}
	if s := b.Status()[0]; s.Lag != 0 || s.ID != party {
		t.Errorf("status %+v", s)
	}
	shows := func(n *node) bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(gathered(t, n.metrics))), func(name string) bool { return strings.HasPrefix(name, "konto_third_party_state") })
	}
	if !shows(a) || shows(b) {
		t.Errorf("gauges: a %v, b %v", shows(a), shows(b))
	}
	// A request that is under way is waited for, and its event is not sent again.
	asked := make(chan struct{})
	c.answer(func(r request) webhook.Answer {
		c.got <- r
		if r.node == "a" {
			<-asked
		}
		return delivered(r)
	})
	c.change(eva, 2)
	c.expect("a", eva, 2)
	a.end()
	close(asked)
	a.stop()
	c.expect("b", eva, 3)
	c.change(anna, 1)
	c.expect("b", anna, 23)
	c.awaitState(b, events.ThirdPartyActive)
}

func testNodeThatIsCutOffIsReplacedAndNeverSendsAtTheSameTime(t *testing.T, primary *postgrestest.Server) {
	c := newCluster(t, primary, time.Second)
	c.add("crm")
	account := c.open()
	proxy := postgrestest.NewProxy(t, c.primary.Port)
	a := c.start("a", proxy.Through(t, c.url), atOnce)
	c.change(account, 1)
	c.expect("a", account, 2)
	b := c.start("b", c.url, atOnce)
	c.awaitState(b, StateElsewhere)

	var under atomic.Int64
	c.answer(func(r request) webhook.Answer {
		if under.Add(1) > 1 {
			t.Error("two requests for one account at the same time")
		}
		defer under.Add(-1)
		c.got <- r
		if r.node == "a" {
			<-r.ctx.Done()
			return failed(r)
		}
		return delivered(r)
	})
	c.change(account, 2)
	c.expect("a", account, 3)
	proxy.Drop(true)
	c.expect("b", account, 3, 4)
	proxy.Break()
	proxy.Drop(false)
	c.awaitState(a, StateElsewhere)
	c.change(account, 1)
	c.expect("b", account, 5)
}

func testRewindByAnotherProcessIsObeyed(t *testing.T, primary *postgrestest.Server) {
	c := newCluster(t, primary, 100*time.Millisecond)
	party, account := c.add("crm"), c.open()
	c.start("a", c.url, atOnce)
	first := c.change(account, 1)
	last := c.change(account, 2)
	c.expect("a", account, 2, 3, 4)
	reached := func() bool {
		position, ok, err := c.db.Position(t.Context(), party)
		c.must(err)
		return ok && position >= last
	}
	c.await("the position is stored", reached)
	if err := c.db.Rewind(t.Context(), party, last+1000); !errors.Is(err, ErrNotReached) {
		t.Errorf("%v", err)
	}
	c.must(c.db.Rewind(t.Context(), party, first-1))
	c.expect("a", account, 2, 3, 4)
	c.await("the position is stored again", reached)
}

// A third party is paused while a node that is about to send has not read that in the log.
func testNodeThatTakesOverObeysWhatIsInTheLog(t *testing.T, primary *postgrestest.Server) {
	c := newCluster(t, primary, 100*time.Millisecond)
	c.cfg.Schedule = []time.Duration{0, time.Hour, time.Hour}
	party, account := c.add("crm"), c.open()
	c.answer(func(r request) webhook.Answer {
		c.got <- r
		return failed(r)
	})
	a := c.start("a", c.url, atOnce)
	c.change(account, 1)
	c.expect("a", account, 2)
	follow := make(chan struct{})
	b := c.start("b", c.url, follow)
	c.awaitState(b, StateElsewhere)
	c.await("the delivery waits", func() bool {
		row, _, err := c.db.Delivery(t.Context(), party, account)
		c.must(err)
		row.Next = time.Now()
		return row.Attempts == 1 && c.db.Save(t.Context(), party, &row, nil) == nil
	})
	a.stop()
	// It had the lease, gave it back because it could not read the log, and has it again.
	c.primary.Await(t, c.url, "SELECT holder = 'b' AND epoch > 2 FROM cluster.lease")
	c.happen(party, events.ThirdPartyPaused{})
	close(follow)
	c.awaitState(b, events.ThirdPartyHeld)
	if len(c.got) > 0 {
		t.Errorf("%+v was sent", <-c.got)
	}
	c.happen(party, events.ThirdPartyResumed{})
	c.expect("b", account, 2)
}
