//go:build servers

package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

var both = keyring.Master{Given: oldMaster, Next: newMaster}

// used is keys with two nodes that have both master keys.
type used struct {
	server *postgrestest.Server
	url    string
	a, b   *postgres.Keys
	dead   events.Stream
	secret []byte

	mu     sync.Mutex
	sealed map[events.Stream][]byte
}

func use(t *testing.T, n int) *used {
	t.Helper()
	u := &used{server: postgrestest.Primary(t), dead: newStream(), sealed: map[events.Stream][]byte{}}
	u.url = u.server.Database(t)
	u.a, u.b = openKeys(t, u.url, both), openKeys(t, u.url, both)
	if err := u.a.Bind(t.Context(), []byte("a log"), true); err != nil {
		t.Fatal(err)
	}
	u.secret = u.a.Derive("claims")
	var streams []events.Stream
	for range n {
		streams = append(streams, newStream())
	}
	createAll(t, u.a, append(streams, u.dead)...)
	for _, s := range streams {
		u.sealed[s] = seal(create(t, u.a, s))
	}
	if err := u.a.Destroy(t.Context(), u.dead); err != nil {
		t.Fatal(err)
	}
	return u
}

// check expects everything in keys that a node opens with a master key.
func (u *used) check(t *testing.T, m keyring.Master) {
	t.Helper()
	k := openKeys(t, u.url, m)
	if err := k.Check(t.Context()); err != nil {
		t.Error(err)
	}
	some := 0
	for s, sealed := range u.sealed {
		if some++; some > 50 { // each of them is read on its own; Check has looked at all
			break
		}
		unseals(t, k, s, sealed)
	}
	if _, err := k.Cipher(t.Context(), u.dead); !errors.Is(err, eventstore.ErrDestroyed) {
		t.Errorf("%v", err)
	}
	if err := k.Bind(t.Context(), []byte("a log"), false); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(k.Derive("claims"), u.secret) {
		t.Error("a derived secret changed")
	}
}

func (u *used) masters(t *testing.T) []int {
	t.Helper()
	return query[int](t, u.url, `SELECT count(*) FROM keys.keys GROUP BY master ORDER BY 1`)
}

func (u *used) expectRotated(t *testing.T) {
	t.Helper()
	u.check(t, keyring.Master{Given: newMaster})
	if found := u.masters(t); len(found) != 1 {
		t.Errorf("rows of several master keys: %v", found)
	}
	if _, err := postgres.OpenKeys(t.Context(), openDatabase(t, u.url), keyring.Master{Given: oldMaster}); !errors.Is(err, keyring.ErrWrongMaster) {
		t.Errorf("the old master key: %v", err)
	}
}

func TestRotationWhileNodesCreateKeys(t *testing.T) {
	u := use(t, 1500)
	gone := parts(query[[]byte](t, u.url, `SELECT wrapped FROM keys.keys`)...)
	stop, count := make(chan struct{}), make(chan struct{}, 10000)
	var creating sync.WaitGroup
	for i := range 8 {
		k := []*postgres.Keys{u.a, u.b}[i%2]
		creating.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s := newStream()
				aead, err := k.Create(t.Context(), s)
				if err != nil {
					t.Error(err)
					return
				}
				u.mu.Lock()
				u.sealed[s] = seal(aead)
				u.mu.Unlock()
				select {
				case count <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 50 {
		<-count
	}
	if err := u.b.Rotate(t.Context()); err != nil {
		t.Error(err)
	}
	for range 50 {
		<-count
	}
	close(stop)
	creating.Wait()
	u.expectRotated(t)
	if n := left(u.server.Stored(t, u.url, "keys.keys"), gone); n > 0 {
		t.Errorf("%d parts of keys are left that the old master key unwraps", n)
	}
}

// A key that is wrapped with the old master key, and stored after the rotation has looked for such
// keys, would be lost with the old master key.
func TestRotationWaitsForKeysThatAreBeingCreated(t *testing.T) {
	u := use(t, 1)
	s := newStream()
	conn, err := pgx.Connect(t.Context(), u.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	// Create waits to see whether this row is stored.
	if _, err := conn.Exec(t.Context(), `BEGIN; INSERT INTO keys.keys VALUES ('`+string(s)+`', '', '', 0)`); err != nil {
		t.Fatal(err)
	}
	created, rotated := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := u.a.Create(t.Context(), s)
		created <- err
	}()
	waiting := `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`
	u.server.Await(t, u.url, `SELECT (`+waiting+`) = 1`)
	go func() { rotated <- u.b.Rotate(t.Context()) }()
	u.server.Await(t, u.url, `SELECT (`+waiting+`) = 2`)
	conn.Close(context.Background())
	if err := errors.Join(<-created, <-rotated); err != nil {
		t.Error(err)
	}
	u.expectRotated(t)
}

func TestRotationThatStoppedGoesOn(t *testing.T) {
	u := use(t, 2500)
	// A row of the second page is locked, so the rotation stops there, and is then given up.
	conn, err := pgx.Connect(t.Context(), u.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `BEGIN;
		SELECT FROM keys.keys WHERE name = (SELECT name FROM keys.keys ORDER BY name OFFSET 1200 LIMIT 1) FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- u.a.Rotate(ctx) }()
	u.server.Await(t, u.url, `SELECT count(*) = 2 AND min(n) = 1001 FROM (SELECT count(*) AS n FROM keys.keys GROUP BY master) AS each`)
	cancel()
	if err := <-stopped; err == nil {
		t.Fatal("it did not stop")
	}
	conn.Close(context.Background())
	if found := u.masters(t); len(found) != 2 {
		t.Fatalf("rows of how many master keys: %v", found)
	}
	u.check(t, both)
	u.check(t, keyring.Master{Given: newMaster, Next: oldMaster})
	last := openKeys(t, u.url, keyring.Master{Given: newMaster}) // the root key is rewrapped first
	if err := last.Check(t.Context()); !errors.Is(err, keyring.ErrWrongMaster) {
		t.Errorf("the next master key alone: %v", err)
	}
	u.sealed[newStream()] = nil
	for s, sealed := range u.sealed {
		if sealed == nil {
			u.sealed[s] = seal(create(t, u.b, s))
		}
	}
	if err := u.b.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.expectRotated(t)
	if err := u.b.Rotate(t.Context()); err != nil {
		t.Errorf("once more: %v", err)
	}
	u.expectRotated(t)
}

// The node was not given the next master key. It must not create keys with the old one, which would
// then have to be kept.
func TestNodeWithoutTheNextMasterKeySaysSo(t *testing.T) {
	u := use(t, 3)
	alone := openKeys(t, u.url, keyring.Master{Given: oldMaster})
	if err := alone.Rotate(t.Context()); !errors.Is(err, keyring.ErrNoNext) {
		t.Errorf("it rotated: %v", err)
	}
	var cached events.Stream
	for s, sealed := range u.sealed {
		cached = s
		unseals(t, alone, s, sealed)
	}
	if err := u.a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	unseals(t, alone, cached, u.sealed[cached])
	fresh := newStream()
	create(t, u.a, fresh)
	_, read := alone.Cipher(t.Context(), fresh)
	_, made := alone.Create(t.Context(), newStream())
	for _, err := range []error{read, made, alone.Destroy(t.Context(), fresh)} {
		if !errors.Is(err, keyring.ErrWrongMaster) || !strings.Contains(err.Error(), "KONTO_NEXT_MASTER_KEY") {
			t.Errorf("%v", err)
		}
	}
	u.expectRotated(t)
}

// A row that cannot be unwrapped would be lost with the old master key.
func TestRotationStopsAtADamagedKey(t *testing.T) {
	u := use(t, 5)
	var damaged events.Stream
	for s := range u.sealed {
		damaged = s
	}
	u.server.ExecIn(t, u.url, `UPDATE keys.keys SET wrapped = decode(repeat('00', 60), 'hex') WHERE name = '`+string(damaged)+`'`)
	if err := u.a.Rotate(t.Context()); !errors.Is(err, eventstore.ErrDamagedKey) || !strings.Contains(err.Error(), string(damaged)) {
		t.Errorf("%v", err)
	}
	if err := u.a.Destroy(t.Context(), damaged); err != nil {
		t.Fatal(err)
	}
	delete(u.sealed, damaged)
	if err := u.a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.expectRotated(t)
}
