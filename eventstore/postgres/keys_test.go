//go:build servers

package postgres_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
		Open:    func(t *testing.T) eventstore.KeyStore { return open(t, primary.Database(t)) },
		Another: func(t *testing.T, keys eventstore.KeyStore) eventstore.KeyStore { return open(t, urls[keys]) },
	})
}

// Each of the nodes would make another root key, and other hashes of claims with it.
func TestNodesThatStartTogetherHaveOneRootKey(t *testing.T) {
	url := postgrestest.Primary(t).Database(t)
	secrets := make([][]byte, 8)
	var all sync.WaitGroup
	for i := range secrets {
		all.Go(func() {
			db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Unreplicated: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			k, err := postgres.OpenKeys(t.Context(), db, keyring.Master{Given: oldMaster})
			if err != nil {
				t.Error(err)
				return
			}
			secrets[i] = k.Derive("claims")
		})
	}
	all.Wait()
	for _, secret := range secrets {
		if !bytes.Equal(secret, secrets[0]) {
			t.Fatal("two nodes have two root keys")
		}
	}
}

func TestKeysThatCannotBeUsedAreRefused(t *testing.T) {
	primary := postgrestest.Primary(t)
	dir := t.TempDir()
	for name, test := range map[string]struct {
		change string
		master keyring.Master
		want   error
		says   string
	}{
		"another master key": {"", keyring.Master{Given: newMaster}, keyring.ErrWrongMaster, "KONTO_NEXT_MASTER_KEY"},
		"no master key":      {"", keyring.Master{Path: filepath.Join(dir, "master.key")}, keyring.ErrNoMaster, "restore the file"},
		"a lost root key": {`DELETE FROM keys.keys WHERE name = 'root'`,
			keyring.Master{Given: oldMaster}, keyring.ErrNoRoot, ""},
		"a damaged root key": {`UPDATE keys.keys SET wrapped = set_byte(wrapped, 20, 255 - get_byte(wrapped, 20)) WHERE name = 'root'`,
			keyring.Master{Given: oldMaster}, eventstore.ErrDamagedKey, "root"},
	} {
		t.Run(name, func(t *testing.T) {
			url := primary.Database(t)
			create(t, openKeys(t, url, keyring.Master{Given: oldMaster}), newStream())
			primary.ExecIn(t, url, test.change)
			_, err := postgres.OpenKeys(t.Context(), openDatabase(t, url), test.master)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
		})
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("a master key was made: %v, %v", entries, err)
	}
}

func TestRowsThatWereChangedAreNotKeys(t *testing.T) {
	primary := postgrestest.Primary(t)
	for name, test := range map[string]struct {
		change string
		want   error
	}{
		"swapped": {`UPDATE keys.keys SET wrapped = other.wrapped FROM keys.keys AS other
			WHERE keys.name LIKE 'a%' AND other.name LIKE 'a%' AND other.name <> keys.name`, eventstore.ErrDamagedKey},
		"zeroed":                   {`UPDATE keys.keys SET wrapped = decode(repeat('00', 60), 'hex') WHERE name LIKE 'a%'`, eventstore.ErrDamagedKey},
		"of an unknown master key": {`UPDATE keys.keys SET master = '\x0102030405060708' WHERE name LIKE 'a%'`, keyring.ErrWrongMaster},
	} {
		t.Run(name, func(t *testing.T) {
			url := primary.Database(t)
			writer, streams := openKeys(t, url, keyring.Master{Given: oldMaster}), []events.Stream{newStream(), newStream()}
			createAll(t, writer, streams...)
			primary.ExecIn(t, url, test.change)
			k := openKeys(t, url, keyring.Master{Given: oldMaster})
			for _, s := range streams {
				if _, err := k.Cipher(t.Context(), s); !errors.Is(err, test.want) || !strings.Contains(err.Error(), string(s)) {
					t.Errorf("%v", err)
				}
				if _, err := k.Create(t.Context(), s); !errors.Is(err, test.want) {
					t.Errorf("Create: %v", err)
				}
			}
			if err := k.Check(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("Check: %v", err)
			}
			if err := k.Destroy(t.Context(), streams...); err != nil { // which is what to do with keys that nobody can use
				t.Error(err)
			}
			if err := k.Check(t.Context()); err != nil {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

func TestKeyWhoseCommitHasNoAnswerIsStoredOnce(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	proxy := postgrestest.NewProxy(t, primary.Port)
	k := openKeys(t, proxy.Through(t, url), keyring.Master{Given: oldMaster})
	var mu sync.Mutex
	cut := false
	proxy.CutAnswers(func(answer []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		cuts := !cut && bytes.Contains(answer, []byte("COMMIT\x00")) && !bytes.Contains(answer, []byte("BEGIN\x00")) // no barrier's
		cut = cut || cuts
		return cuts
	})
	s := newStream()
	sealed := seal(create(t, k, s))
	if !cut {
		t.Fatal("no answer was cut")
	}
	unseals(t, openKeys(t, url, keyring.Master{Given: oldMaster}), s, sealed)
}

// A key that no standby has may be lost, and events that are sealed with it could not be read.
func TestKeysWaitForTheStandby(t *testing.T) {
	primary := postgrestest.Primary(t)
	_, replication := primary.Standby(t, "standby")
	url := primary.Database(t)
	a, b := openKeys(t, url, keyring.Master{Given: oldMaster}), openKeys(t, url, keyring.Master{Given: oldMaster})
	replication.Drop(true)
	s := newStream()
	created, read := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := a.Create(t.Context(), s)
		created <- err
	}()
	primary.Await(t, url, `SELECT count(*) = 1 FROM keys.keys WHERE name = '`+string(s)+`'`)
	go func() {
		_, err := b.Cipher(t.Context(), s)
		read <- err
	}()
	primary.Await(t, url, `SELECT count(*) >= 2 FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
	select {
	case err := <-created:
		t.Errorf("created, although no standby has the key: %v", err)
	case err := <-read:
		t.Errorf("read, although no standby has the key: %v", err)
	default:
	}
	replication.Drop(false)
	replication.Break()
	if err := errors.Join(<-created, <-read); err != nil {
		t.Error(err)
	}
}

func TestCreateEndsWithItsContext(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	proxy := postgrestest.NewProxy(t, primary.Port)
	k := openKeys(t, proxy.Through(t, url), keyring.Master{Given: oldMaster})
	proxy.Drop(true)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := k.Create(ctx, newStream())
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	proxy.Drop(false)
	proxy.Break()
}
