//go:build servers

package nats

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
	"konto/projections"
)

// node is one konto on a log in Postgres.
type pgNode struct {
	store   *eventstore.Store
	cursors *postgres.Cursors
	conn    *Conn
}

func (r *fixture) pgNode(name, postgresURL, natsURL string, keys *keyring.Keyring) *pgNode {
	r.t.Helper()
	db, err := postgres.Open(r.t.Context(), postgres.Config{URL: postgresURL, Unreplicated: true, Log: quiet})
	must(r.t, err)
	log, err := postgres.OpenLog(r.t.Context(), db)
	must(r.t, err)
	r.t.Cleanup(func() { log.Close() })
	return &pgNode{store: eventstore.NewStore(log, keys), cursors: db.Cursors("publisher", name), conn: r.dial(natsURL)}
}

func (n *pgNode) publisher() *Publisher {
	return NewPublisher(PublisherConfig{Conn: n.conn, Cursors: n.cursors, Held: n.cursors.Check, Store: n.store, Log: quiet})
}

// follow runs the node's publisher until stop is called.
func (n *pgNode) follow(t *testing.T) (f *projections.Follower, stop func()) {
	f = projections.NewFollower(projections.FollowerConfig{Name: "publisher", Store: n.store, Projection: n.publisher(), Hold: n.cursors.Hold, Log: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	ended := false
	stop = func() {
		if cancel(); !ended {
			ended = true
			must(t, <-done)
		}
	}
	t.Cleanup(stop)
	return f, stop
}

// twoNodes returns two nodes on one log and one cluster. The first reaches Postgres through a proxy.
// The fixture's log is that of the second.
func twoNodes(t *testing.T) (r *fixture, a, b *pgNode, proxy *postgrestest.Proxy) {
	t.Helper()
	r, cluster := clustered(t)
	server := postgrestest.Primary(t)
	proxy = postgrestest.NewProxy(t, server.Port)
	keys, err := keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), make([]byte, 32))
	must(t, err)
	t.Cleanup(func() { keys.Close() })
	url := cluster.URL("konto:konto@")
	b = r.pgNode("b", server.URL(), url, keys)
	a = r.pgNode("a", proxy.Through(t, server.URL()), url, keys)
	r.store = b.store
	return r, a, b, proxy
}

func isFollowing(f *projections.Follower) func() bool {
	return func() bool { return f.Status().State == projections.StateFollowing }
}

func TestPublishingMovesToAnotherNodeAndBack(t *testing.T) {
	r, a, b, proxy := twoNodes(t)
	atA, stopA := a.follow(t)
	eventually(t, isFollowing(atA))
	atB, stopB := b.follow(t)
	r.account(500)
	head := func() uint64 {
		head, err := r.store.Head(t.Context())
		must(t, err)
		return head
	}
	must(t, atA.WaitFor(t.Context(), head()))
	if err := atB.WaitFor(t.Context(), head()); !errors.Is(err, projections.ErrStandby) {
		t.Errorf("the second node's publisher: %v", err)
	}

	proxy.Drop(true) // a is cut off from Postgres while it publishes, and not from NATS
	r.account(500)
	eventually(t, isFollowing(atB))
	r.account(500)
	must(t, atB.WaitFor(t.Context(), head()))
	proxy.Break()
	proxy.Drop(false)
	r.account(500)
	must(t, atB.WaitFor(t.Context(), head()))
	eventually(t, func() bool { return atA.Status().State == projections.StateStandby })
	r.holds(r.published(0))

	stopB()
	eventually(t, isFollowing(atA))
	r.account(500)
	must(t, atA.WaitFor(t.Context(), head()))
	stopA()
	r.holds(r.published(0))
	value, err := b.cursors.Cursor(t.Context(), cursorName)
	must(t, err)
	r.cursors.values[cursorName] = value
	if got := r.saved(); got.Position != head() || got.Sequence != r.stream().CachedInfo().State.LastSeq {
		t.Errorf("the cursor is %+v", got)
	}
}

// held holds the lease until the returned function is called.
func (n *pgNode) held(t *testing.T) (release func()) {
	t.Helper()
	has, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- n.cursors.Hold(context.Background(), func(context.Context) error {
			close(has)
			<-end
			return nil
		})
	}()
	<-has
	return func() {
		close(end)
		must(t, <-ended)
	}
}

// A publisher goes on although its lease is another node's, as if its process had been stopped
// meanwhile.
func TestPublisherWhoseLeaseIsAnothersChangesNothing(t *testing.T) {
	r, a, b, _ := twoNodes(t)
	release := a.held(t)
	gone := r.account(10)
	deposed := a.publisher()
	must(t, a.store.Wait(t.Context(), 9))
	r.store = a.store
	r.follow(deposed)
	must(t, deposed.Rest(t.Context()))
	all := r.published(0)
	release()
	release = b.held(t)
	before, err := b.cursors.Cursor(t.Context(), cursorName)
	must(t, err)

	want := r.erase(gone)
	all = append(all, want...)
	must(t, a.store.Wait(t.Context(), 10))
	batch, err := a.store.ReadAll(t.Context(), 10, 10)
	must(t, err)
	for name, do := range map[string]func() error{
		"Apply": func() error { return deposed.Apply(t.Context(), batch) },
		"Open":  func() error { return deposed.Open(t.Context()) },
		"save":  func() error { return deposed.save(t.Context(), Cursor{}) },
	} {
		if err := do(); !errors.Is(err, postgres.ErrLeaseLost) {
			t.Errorf("%s returned %v", name, err)
		}
	}
	r.holds(all)
	after, err := b.cursors.Cursor(t.Context(), cursorName)
	must(t, err)
	if string(before) != string(after) {
		t.Errorf("it saved %s over %s", after, before)
	}

	r.open(b.publisher())
	r.holds(want)
	release()
}
