package keyring

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

var (
	_ eventstore.KeyStore = (*Keyring)(nil)

	master = bytes.Repeat([]byte{7}, keySize)
	secret = []byte("Åsa Öberg")
)

func stream() events.Stream { return events.AccountStream(ulid.Make()) }

func open(t testing.TB, path string) *Keyring {
	t.Helper()
	k, err := Open(t.Context(), path, master)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func create(t testing.TB, k *Keyring, s events.Stream) cipher.AEAD {
	t.Helper()
	aead, err := k.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func unseals(t *testing.T, aead cipher.AEAD, sealed []byte) {
	t.Helper()
	if clear, err := aead.Open(nil, nil, sealed, nil); err != nil || !bytes.Equal(clear, secret) {
		t.Errorf("unsealed %q, %v", clear, err)
	}
}

func TestKeysSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	s := stream()
	k := open(t, path)
	sealed := create(t, k, s).Seal(nil, nil, secret, nil)
	derived := k.Derive("claims")
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}

	k = open(t, path)
	aead, err := k.Cipher(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	unseals(t, aead, sealed)
	if !bytes.Equal(k.Derive("claims"), derived) {
		t.Error("a derived secret changed")
	}
}

// A key may have no events because its append failed or konto crashed. The next append uses it.
func TestCreateKeepsAnExistingKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	s := stream()
	k := open(t, path)
	sealed := create(t, k, s).Seal(nil, nil, secret, nil)
	unseals(t, create(t, k, s), sealed)
	k.Close()
	unseals(t, create(t, open(t, path), s), sealed)
}

// Two keyrings on one file act as two processes. Create must return the stored key, whoever stored
// it.
func TestConcurrentCreatesOfOneStreamGiveOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	rings := []*Keyring{open(t, path), open(t, path)}
	s := stream()
	ciphers := make([]cipher.AEAD, 32)
	var wg sync.WaitGroup
	for i := range ciphers {
		wg.Go(func() {
			var err error
			if ciphers[i], err = rings[i%2].Create(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed := ciphers[0].Seal(nil, nil, secret, nil)
	for _, aead := range ciphers {
		unseals(t, aead, sealed)
	}
}

func TestConcurrentCreatesOfManyStreamsAllSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	k := open(t, path)
	sealed := map[events.Stream][]byte{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			s := stream()
			aead, err := k.Create(t.Context(), s)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			sealed[s] = aead.Seal(nil, nil, secret, nil)
		})
	}
	wg.Wait()
	k.Close()
	k = open(t, path)
	for s, bytes := range sealed {
		aead, err := k.Cipher(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		unseals(t, aead, bytes)
	}
}

func TestStreamsHaveKeysOfTheirOwn(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys.db"))
	sealed := create(t, k, stream()).Seal(nil, nil, secret, nil)
	if _, err := create(t, k, stream()).Open(nil, nil, sealed, nil); err == nil {
		t.Error("another stream's key unsealed it")
	}
}

func TestEachSealingDiffers(t *testing.T) {
	aead := create(t, open(t, filepath.Join(t.TempDir(), "keys.db")), stream())
	if bytes.Equal(aead.Seal(nil, nil, secret, nil), aead.Seal(nil, nil, secret, nil)) {
		t.Error("the nonce is not random")
	}
}

func TestDerivedSecretsDifferByPurposeAndKeyring(t *testing.T) {
	a := open(t, filepath.Join(t.TempDir(), "keys.db"))
	b := open(t, filepath.Join(t.TempDir(), "keys.db")) // of the same master key
	seen := map[string]bool{}
	for _, derived := range [][]byte{a.Derive("claims"), a.Derive("codes"), b.Derive("claims")} {
		if len(derived) != 32 {
			t.Errorf("%d bytes", len(derived))
		}
		seen[string(derived)] = true
	}
	if len(seen) != 3 {
		t.Error("two derived secrets are the same")
	}
}

func TestMissingKeyNamesTheStream(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys.db"))
	s := stream()
	_, err := k.Cipher(t.Context(), s)
	if !errors.Is(err, eventstore.ErrNoKey) || !strings.Contains(err.Error(), string(s)) {
		t.Errorf("%v", err)
	}
}

func TestFileHoldsNoClearKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	k := open(t, path)
	s := stream()
	create(t, k, s)
	key, err := k.load(t.Context(), string(s))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, path + "-wal"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for name, clear := range map[string][]byte{"stream key": key, "root key": k.root, "master key": master} {
			if bytes.Contains(content, clear) {
				t.Errorf("%s holds the %s", filepath.Base(file), name)
			}
		}
	}
}

// Without a sync the commit before Create returns would not be durable.
func TestWriterSyncsEveryCommit(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys.db"))
	const full = 2
	var synchronous int
	if err := k.writer.QueryRow("PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != full {
		t.Errorf("synchronous = %d, %v", synchronous, err)
	}
}

func TestCachedCiphersAreBounded(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys.db"))
	aead := create(t, k, stream())
	for range 2 * cached {
		k.ciphers.Add(stream(), aead)
	}
	if n := k.ciphers.Len(); n != cached {
		t.Errorf("%d ciphers kept", n)
	}
}

func TestClosedKeyringRefuses(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "keys.db"))
	k.Close()
	if _, err := k.Create(context.Background(), stream()); err == nil {
		t.Error("created a key in a closed file")
	}
}

func BenchmarkCreate(b *testing.B) {
	k := open(b, filepath.Join(b.TempDir(), "keys.db"))
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			create(b, k, stream())
		}
	})
}

func BenchmarkCipherNotCached(b *testing.B) {
	k := open(b, filepath.Join(b.TempDir(), "keys.db"))
	s := stream()
	create(b, k, s)
	for b.Loop() {
		k.ciphers.Remove(s)
		if _, err := k.Cipher(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}
