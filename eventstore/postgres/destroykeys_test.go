//go:build servers

package postgres_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// Destroy on one node cannot evict what another has cached. So each node is told when it has read
// the end of a stream, and only then is the key destroyed.
func TestNoNodeHasTheKeyOfAnEndedStreamOnceItIsDestroyed(t *testing.T) {
	url := postgrestest.Primary(t).Database(t)
	a, b := openKeys(t, url, keyring.Master{Given: oldMaster}), openKeys(t, url, keyring.Master{Given: oldMaster})
	s, other := newStream(), newStream()
	sealed := seal(create(t, a, s))
	create(t, a, other)
	a.Ended(s)
	unseals(t, a, s, sealed) // events before the end are still read, and this must not cache the key
	if err := b.Destroy(t.Context(), s, other); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Cipher(t.Context(), s); !errors.Is(err, eventstore.ErrDestroyed) {
		t.Errorf("%v", err)
	}
	if _, err := a.Create(t.Context(), s); !errors.Is(err, eventstore.ErrDestroyed) {
		t.Errorf("Create: %v", err)
	}
	if _, err := a.Cipher(t.Context(), other); err != nil {
		t.Errorf("without the call of Ended, the key would not even be cached: %v", err)
	}
	a.Ended(other)
	if _, err := a.Cipher(t.Context(), other); !errors.Is(err, eventstore.ErrDestroyed) {
		t.Errorf("after it was destroyed: %v", err)
	}
}

// parts returns 16 bytes at a time of wrapped keys, because also a part would be too much.
func parts(wrapped ...[]byte) map[[16]byte]bool {
	all := map[[16]byte]bool{}
	for _, w := range wrapped {
		for at := 0; at+16 <= len(w); at += 16 {
			all[[16]byte(w[at:])] = true
		}
	}
	return all
}

func left(stored []byte, gone map[[16]byte]bool) (n int) {
	for at := 0; at+16 <= len(stored); at++ {
		if gone[[16]byte(stored[at:])] {
			n++
		}
	}
	return n
}

// Postgres does not clear the bytes of rows that it removes.
func TestDestroyedKeysLeaveNoBytes(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	k := openKeys(t, url, keyring.Master{Given: oldMaster})
	file := func() uint32 { return query[uint32](t, url, `SELECT pg_relation_filenode('keys.keys')`)[0] }
	before := file()
	destroyInTurns(t, k, primary, url, 8)
	if file() != before {
		t.Error("the table was rewritten, although the tombstones fit on the pages of the keys")
	}
	primary.ExecIn(t, url, `ALTER TABLE keys.keys SET (fillfactor = 100)`)
	destroyInTurns(t, k, primary, url, 2)
	if file() == before {
		t.Error("the table was not rewritten, although the tombstones did not fit")
	}
}

// destroyInTurns creates and destroys keys of streams of all kinds, sometimes many of one page, and
// expects that none of their bytes are left.
func destroyInTurns(t *testing.T, k *postgres.Keys, primary *postgrestest.Server, url string, rounds int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var live []events.Stream
	gone := map[[16]byte]bool{}
	for round := range rounds {
		var fresh []events.Stream
		for range 100 {
			fresh = append(fresh, events.AccountStream(ulid.Make()), events.CredentialStream(ulid.Make()))
		}
		fresh = append(fresh, events.ThirdPartyStream(ulid.Make()))
		createAll(t, k, fresh...)
		live = append(live, fresh...)
		if round%2 == 0 { // otherwise those that were created last, which are neighbours
			random.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
		}
		dying := live[len(live)-len(live)/3:]
		wrapped := query[[]byte](t, url, `SELECT wrapped FROM keys.keys WHERE name = ANY($1)`, dying)
		fresher := parts(wrapped...)
		for part := range fresher {
			gone[part] = true
		}
		if len(wrapped) != len(dying) || left(primary.Stored(t, url, "keys.keys"), fresher) < len(fresher) {
			t.Fatal("keys are not even there before they are destroyed")
		}
		if err := k.Destroy(t.Context(), dying...); err != nil {
			t.Fatal(err)
		}
		if n := left(primary.Stored(t, url, "keys.keys"), gone); n > 0 {
			t.Fatalf("round %d: %d parts of keys are left", round, n)
		}
		live = slices.Clone(live[:len(live)-len(dying)])
	}
}

// begin begins a transaction in the database at url that has read the keys. It goes on until the
// returned function is called.
func begin(t *testing.T, url, isolation string) (end func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	end = func() { conn.Close(context.Background()) }
	t.Cleanup(end)
	if _, err := conn.Exec(t.Context(), "BEGIN ISOLATION LEVEL "+isolation+"; SELECT count(*) FROM keys.keys"); err != nil {
		t.Fatal(err)
	}
	return end
}

// While somebody reads an old state, VACUUM removes nothing, new versions do not fit on their pages,
// and old bytes are left for good. Destroy must not say that they are gone.
func TestDestroyFailsWhileSomebodyReadsAnOldState(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	k := openKeys(t, url, keyring.Master{Given: oldMaster, Next: newMaster})
	var streams []events.Stream
	for range 300 {
		streams = append(streams, newStream())
	}
	createAll(t, k, streams...)
	wrapped := func() [][]byte {
		return query[[]byte](t, url, `SELECT wrapped FROM keys.keys WHERE name = ANY($1)`, streams)
	}
	gone := parts(wrapped()...)
	end := begin(t, url, "REPEATABLE READ")
	if err := k.Rotate(t.Context()); err == nil {
		t.Error("rotated, although old bytes are left")
	}
	for part := range parts(wrapped()...) {
		gone[part] = true
	}
	if err := k.Destroy(t.Context(), streams...); err == nil {
		t.Error("destroyed, although old bytes are left")
	}
	if _, err := k.Cipher(t.Context(), streams[0]); !errors.Is(err, eventstore.ErrDestroyed) {
		t.Errorf("%v", err)
	}
	end()
	end = begin(t, url, "READ COMMITTED") // which keeps the table from being rewritten
	if err := k.Destroy(t.Context(), streams...); err == nil {
		t.Error("destroyed, although the table could not be rewritten")
	}
	end()
	if err := k.Destroy(t.Context(), streams...); err != nil {
		t.Fatal(err)
	}
	if n := left(primary.Stored(t, url, "keys.keys"), gone); n > 0 {
		t.Errorf("%d parts of keys are left", n)
	}
	if rewrite := query[int64](t, url, `SELECT rewrite FROM keys.state`); rewrite[0] != 0 {
		t.Error("every call rewrites the table from now on")
	}
}

// VACUUM only warns if it may not.
func TestDestroyFailsIfTheTableIsNotKontos(t *testing.T) {
	primary := postgrestest.Primary(t)
	at := primary.Database(t)
	openKeys(t, at, keyring.Master{Given: oldMaster})
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	primary.ExecIn(t, at, `CREATE ROLE other LOGIN; GRANT pg_read_all_stats TO other;
		GRANT ALL ON DATABASE `+u.Path[1:]+` TO other; GRANT ALL ON SCHEMA log, cluster, keys TO other;
		GRANT ALL ON ALL TABLES IN SCHEMA log, cluster, keys TO other`)
	u.User = url.User("other")
	k := openKeys(t, u.String(), keyring.Master{Given: oldMaster})
	s := newStream()
	create(t, k, s)
	if err := k.Destroy(t.Context(), s); err == nil {
		t.Error("destroyed, although VACUUM did nothing")
	}
	if _, err := k.Cipher(t.Context(), s); !errors.Is(err, eventstore.ErrDestroyed) {
		t.Errorf("%v", err)
	}
}
