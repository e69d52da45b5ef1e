package keyring

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// expectDestroyed expects that a stream has no key and gets no new one.
func expectDestroyed(t *testing.T, k *Keyring, s events.Stream) {
	t.Helper()
	for name, err := range map[string]error{
		"Cipher": second(k.Cipher(t.Context(), s)), "Create": second(k.Create(t.Context(), s)),
	} {
		if !errors.Is(err, eventstore.ErrDestroyed) || errors.Is(err, eventstore.ErrNoKey) || errors.Is(err, ErrDamagedKey) {
			t.Errorf("%s of %s: %v", name, s, err)
		}
	}
}

func second[V any](_ V, err error) error { return err }

func destroy(t testing.TB, k *Keyring, streams ...events.Stream) {
	t.Helper()
	if err := k.Destroy(t.Context(), streams...); err != nil {
		t.Fatal(err)
	}
}

func TestDestroyedKeysStayDestroyed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	k := open(t, path)
	cached, stored, never, kept := stream(), stream(), stream(), stream()
	sealed := create(t, k, kept).Seal(nil, nil, secret, nil)
	create(t, k, cached)
	create(t, k, stored)
	k.ciphers.Remove(stored)
	destroy(t, k, cached, stored, never)
	destroy(t, k, cached, never) // once more is no error
	for range 2 {
		for _, s := range []events.Stream{cached, stored, never} {
			expectDestroyed(t, k, s)
		}
		unseals(t, create(t, k, kept), sealed)
		k.Close()
		k = open(t, path)
	}
}

func TestOnlyKeysOfStreamsCanBeDestroyed(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys.db"))
	for _, name := range []events.Stream{RootName, LogName, "", "account-x"} {
		if err := k.Destroy(t.Context(), name); err == nil {
			t.Errorf("%q was destroyed", name)
		}
	}
	if _, err := k.load(t.Context(), RootName); err != nil {
		t.Error(err)
	}
}

// An account whose key is damaged or replaced must not be read as erased.
func TestADamagedKeyIsNotADestroyedKey(t *testing.T) {
	for name, change := range map[string]string{
		"emptied":             "UPDATE keys SET wrapped = x'' WHERE stream = ?1",
		"zeroed":              "UPDATE keys SET wrapped = zeroblob(60) WHERE stream = ?1",
		"another's tombstone": "UPDATE keys SET wrapped = (SELECT wrapped FROM keys WHERE stream = ?2) WHERE stream = ?1",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.db")
			k := open(t, path)
			s, dead := stream(), stream()
			create(t, k, s)
			destroy(t, k, dead)
			k.Close()
			rewrite(t, path, change, string(s), string(dead))
			k = open(t, path)
			if _, err := k.Cipher(t.Context(), s); !errors.Is(err, ErrDamagedKey) {
				t.Errorf("%v", err)
			}
			destroy(t, k, s) // which is what to do with a key that nobody can use
			expectDestroyed(t, k, s)
		})
	}
}

// wrappedOf returns the bytes of wrapped keys in the file, without the parts that all rows share.
func wrappedOf(t *testing.T, path string, streams ...events.Stream) map[[16]byte]events.Stream {
	t.Helper()
	db, err := sqlitefile.OpenReaders(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all := map[[16]byte]events.Stream{}
	for _, s := range streams {
		var wrapped []byte
		if err := db.QueryRow("SELECT wrapped FROM keys WHERE stream = ?", s).Scan(&wrapped); err != nil {
			t.Fatal(err)
		}
		for at := 0; at+16 <= len(wrapped); at += 16 { // also a part would be too much
			all[[16]byte(wrapped[at:])] = s
		}
	}
	return all
}

// left returns which of the bytes are still in the keyring's files.
func left(t *testing.T, path string, bytes map[[16]byte]events.Stream) (found []events.Stream) {
	t.Helper()
	for _, file := range []string{path, path + "-wal", path + "-journal"} {
		content, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for at := 0; at+16 <= len(content); at++ {
			if s, ok := bytes[[16]byte(content[at:])]; ok {
				found = append(found, s)
			}
		}
	}
	return found
}

// The order of streams splits many pages, and keys are destroyed in between. When SQLite moves rows
// from page to page, it must leave no copies.
func TestDestroyedKeysLeaveNoBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	k := open(t, path)
	random := rand.New(rand.NewPCG(1, 2))
	var live []events.Stream
	gone := map[[16]byte]events.Stream{}
	for round := range 20 {
		var rows []row
		for i := range 200 {
			id := ulid.MustNew(uint64(round*1000+i), ulid.DefaultEntropy())
			if i%3 == 0 {
				id = ulid.MustNew(random.Uint64N(1<<40), ulid.DefaultEntropy())
			}
			s := events.AccountStream(id)
			if i%2 == 0 {
				s = events.CredentialStream(id)
			}
			rows = append(rows, row{string(s), bytes.Repeat([]byte{byte(i + 1)}, keySize)})
			live = append(live, s)
		}
		if err := k.store(rows); err != nil {
			t.Fatal(err)
		}
		random.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
		dying := live[:len(live)/3]
		for part, s := range wrappedOf(t, path, dying...) {
			gone[part] = s
		}
		if len(left(t, path, gone)) == 0 {
			t.Fatal("keys are not even there before they are destroyed")
		}
		destroy(t, k, dying...)
		if found := left(t, path, gone); len(found) > 0 {
			t.Fatalf("round %d: bytes of %d keys are left", round, len(found))
		}
		live = slices.Clone(live[len(dying):])
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if found := left(t, path, gone); len(found) > 0 {
		t.Errorf("closed: bytes of %d keys are left", len(found))
	}
}

// After a crash between the commit and the checkpoint, both the tombstone and the old bytes exist.
// The next call overwrites the bytes, although the key is destroyed already.
func TestASecondDestroyFinishesAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	k := open(t, path)
	s := stream()
	create(t, k, s)
	gone := wrappedOf(t, path, s)
	if err := k.replaceKeys(t.Context(), []events.Stream{s}); err != nil {
		t.Fatal(err)
	}
	if len(left(t, path, gone)) == 0 {
		t.Fatal("nothing was left to clear")
	}
	destroy(t, k, s)
	if len(left(t, path, gone)) > 0 {
		t.Error("the old bytes are still there")
	}
}

// While somebody reads an old state of the file, its write-ahead log cannot be emptied. That is an
// error, although the key is destroyed.
func TestDestroyFailsIfOldBytesRemain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	k := open(t, path)
	s := stream()
	create(t, k, s)
	reader, err := k.readers.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	var n int
	if err := reader.QueryRow("SELECT count(*) FROM keys").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, err := k.writer.Exec("PRAGMA busy_timeout = 20"); err != nil {
		t.Fatal(err)
	}
	if err := k.Destroy(t.Context(), s); err == nil {
		t.Error("no word of it")
	}
	expectDestroyed(t, k, s)
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	destroy(t, k, s)
}

// If a key could be destroyed after a reader read it and before the reader cached it, the key would
// come back.
func TestKeysAreCachedAndEvictedUnderTheLock(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys.db"))
	a, b := stream(), stream()
	create(t, k, a)
	create(t, k, b)
	excluded := map[string]bool{}
	var doing string
	ciphers, err := lru.NewWithEvict(1, func(events.Stream, cipher.AEAD) {
		var entered bool
		switch doing {
		case "Cipher":
			if entered = k.mu.TryLock(); entered {
				k.mu.Unlock()
			}
		case "Destroy":
			if entered = k.mu.TryRLock(); entered {
				k.mu.RUnlock()
			}
		}
		excluded[doing] = !entered
	})
	if err != nil {
		t.Fatal(err)
	}
	k.ciphers = ciphers
	doing = "Cipher"
	for _, s := range []events.Stream{a, b} { // the second evicts the first
		if _, err := k.Cipher(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	doing = "Destroy"
	destroy(t, k, b)
	if !excluded["Cipher"] || !excluded["Destroy"] {
		t.Errorf("the lock is held by: %v", excluded)
	}
}

// Many goroutines read, create, destroy and rewrap keys at once. A key that was destroyed before a
// call is never returned by it. Other keys never change.
func TestKeysAreDestroyedWhileTheyAreUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	k := open(t, path)
	var wg sync.WaitGroup
	masters := make(chan []byte, 1)
	for i := range 4 {
		wg.Go(func() {
			for range 25 {
				s, kept := stream(), stream()
				sealed := create(t, k, kept).Seal(nil, nil, secret, nil)
				create(t, k, s)
				var racers sync.WaitGroup
				for range 3 {
					racers.Go(func() {
						for {
							k.ciphers.Remove(s) // so that it is read from the file
							if _, err := k.Cipher(t.Context(), s); err != nil {
								return
							}
						}
					})
				}
				destroy(t, k, s)
				expectDestroyed(t, k, s)
				racers.Wait()
				expectDestroyed(t, k, s)
				k.ciphers.Remove(kept)
				aead, err := k.Cipher(t.Context(), kept)
				if err != nil {
					t.Errorf("keyring %d: %v", i, err)
					return
				}
				unseals(t, aead, sealed)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	go func() {
		last := master
		for n := byte(0); ; n++ {
			select {
			case <-done:
				masters <- last
				return
			default:
			}
			last = bytes.Repeat([]byte{100 + n%100}, keySize)
			if err := k.Rotate(t.Context(), last); err != nil {
				t.Error(err)
			}
		}
	}()
	last := <-masters
	k.Close()
	k, err := Open(t.Context(), path, last)
	if err != nil {
		t.Fatal(err)
	}
	k.Close()
}
