//go:build servers

package postgres_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/keyring/keyringtest"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

var (
	oldMaster = hex.EncodeToString(bytes.Repeat([]byte{7}, 32))
	newMaster = hex.EncodeToString(bytes.Repeat([]byte{8}, 32))
	secret    = []byte("Åsa Öberg")
)

func openKeys(t *testing.T, url string, m keyring.Master) *postgres.Keys {
	t.Helper()
	k, err := postgres.OpenKeys(t.Context(), openDatabase(t, url), m)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newStream() events.Stream { return events.AccountStream(ulid.Make()) }

func create(t *testing.T, k *postgres.Keys, s events.Stream) cipher.AEAD {
	t.Helper()
	aead, err := k.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

// createAll creates keys at once.
func createAll(t *testing.T, k *postgres.Keys, streams ...events.Stream) {
	t.Helper()
	var all sync.WaitGroup
	for some := range slices.Chunk(streams, 1+len(streams)/256) {
		all.Go(func() {
			for _, s := range some {
				if _, err := k.Create(t.Context(), s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func seal(aead cipher.AEAD) []byte { return aead.Seal(nil, nil, secret, nil) }

func unseals(t *testing.T, k *postgres.Keys, s events.Stream, sealed []byte) {
	t.Helper()
	aead, err := k.Cipher(t.Context(), s)
	if err != nil {
		t.Error(err)
		return
	}
	if clear, err := aead.Open(nil, nil, sealed, nil); err != nil || !bytes.Equal(clear, secret) {
		t.Errorf("%s: unsealed %q, %v", s, clear, err)
	}
}

// query returns the first column of all rows of an answer.
func query[V any](t *testing.T, url, statement string, args ...any) []V {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[V])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestKeysKeepTheContract(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	urls := map[eventstore.KeyStore]string{}
	open := func(t *testing.T, url string) eventstore.KeyStore {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		k, err := postgres.OpenKeys(t.Context(), db, keyring.Master{Given: oldMaster})
		if err != nil {
			t.Fatal(err)
		}
		urls[k] = url
		return k
	}
	keyringtest.Run(t, keyringtest.Backend{
		Open:    func(t *testing.T) eventstore.KeyStore { return open(t, database(t, primary)) },
		Another: func(t *testing.T, keys eventstore.KeyStore) eventstore.KeyStore { return open(t, urls[keys]) },
	})
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

// Postgres does not clear the bytes of rows that it removes. Keys of streams of all kinds are
// created and destroyed in turns, sometimes many of one page.
func TestDestroyedKeysLeaveNoBytes(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := database(t, primary)
	k := openKeys(t, url, keyring.Master{Given: oldMaster})
	random := rand.New(rand.NewPCG(1, 2))
	var live []events.Stream
	gone := map[[16]byte]bool{}
	for round := range 12 {
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
