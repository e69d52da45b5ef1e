package keyring

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/events"
)

var nextMaster = bytes.Repeat([]byte{9}, keySize)

// filled returns a keyring with keys, a destroyed key, and the id of its log.
type filled struct {
	path, dir string
	k         *Keyring
	sealed    map[events.Stream][]byte
	dead      events.Stream
	derived   []byte
}

func fill(t *testing.T, open func(path string) *Keyring) *filled {
	t.Helper()
	dir := t.TempDir()
	f := &filled{dir: dir, path: filepath.Join(dir, "keys.db"), sealed: map[events.Stream][]byte{}, dead: stream()}
	f.k = open(f.path)
	if err := f.k.Bind(t.Context(), []byte("log"), true); err != nil {
		t.Fatal(err)
	}
	var rows []row
	for i := range 2*rewrapPage + 1 {
		s := stream()
		rows = append(rows, row{string(s), bytes.Repeat([]byte{byte(i%255 + 1)}, keySize)})
		f.sealed[s] = nil
	}
	if err := f.k.store(rows); err != nil {
		t.Fatal(err)
	}
	for s := range f.sealed {
		f.sealed[s] = create(t, f.k, s).Seal(nil, nil, secret, nil)
	}
	destroy(t, f.k, f.dead)
	f.derived = f.k.Derive("claims")
	return f
}

// expectIntact expects everything that filled has stored.
func (f *filled) expectIntact(t *testing.T, k *Keyring) {
	t.Helper()
	k.ciphers.Purge()
	for s, sealed := range f.sealed {
		aead, err := k.Cipher(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		unseals(t, aead, sealed)
	}
	expectDestroyed(t, k, f.dead)
	if !bytes.Equal(k.Derive("claims"), f.derived) {
		t.Error("a derived secret changed")
	}
	if err := k.Bind(t.Context(), []byte("log"), false); err != nil {
		t.Error(err)
	}
}

func TestRotationRewrapsEveryRow(t *testing.T) {
	f := fill(t, func(path string) *Keyring { return open(t, path) })
	streams := []events.Stream{RootName, LogName, f.dead}
	for s := range f.sealed {
		streams = append(streams, s)
	}
	old := wrappedOf(t, f.path, streams...)
	if err := f.k.Rotate(t.Context(), nextMaster); err != nil {
		t.Fatal(err)
	}
	if found := left(t, f.path, old); len(found) > 0 {
		t.Errorf("bytes of %d keys are left, wrapped by the old master key", len(found))
	}
	f.expectIntact(t, f.k)
	fresh := create(t, f.k, stream()).Seal(nil, nil, secret, nil)
	if len(fresh) == 0 {
		t.Error("no new key")
	}
	f.k.Close()
	if _, err := Open(t.Context(), f.path, master); !errors.Is(err, ErrWrongMaster) {
		t.Errorf("with the old master key: %v", err)
	}
	k, err := Open(t.Context(), f.path, nextMaster)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	f.expectIntact(t, k)
	unwrapsNothing(t, k, master)
}

// unwrapsNothing expects that a master key unwraps no row.
func unwrapsNothing(t *testing.T, k *Keyring, master []byte) {
	t.Helper()
	old, err := NewWrapper(master)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := k.writer.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for after := ""; ; {
		page, err := wrappedKeys(t.Context(), tx, after)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return
		}
		for _, r := range page {
			if _, err := old.Unwrap(r.name, r.wrapped); err == nil {
				t.Fatalf("the key of %s is wrapped by the old master key", r.name)
			}
		}
		after = page[len(page)-1].name
	}
}

// If one row cannot be unwrapped, all rows keep the old master key.
func TestRotationOfDamagedKeysChangesNothing(t *testing.T) {
	f := fill(t, func(path string) *Keyring { return open(t, path) })
	f.k.Close()
	last := events.Stream("")
	for s := range f.sealed {
		last = max(last, s)
	}
	rewrite(t, f.path, "UPDATE keys SET wrapped = zeroblob(60) WHERE stream = ?", string(last))
	k := open(t, f.path)
	if err := k.Rotate(t.Context(), nextMaster); !errors.Is(err, ErrDamagedKey) || !strings.Contains(err.Error(), string(last)) {
		t.Errorf("%v", err)
	}
	delete(f.sealed, last)
	f.expectIntact(t, k)
	k.Close()
	f.expectIntact(t, open(t, f.path))
}

func TestRotationThatIsCancelledChangesNothing(t *testing.T) {
	f := fill(t, func(path string) *Keyring { return open(t, path) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.k.Rotate(ctx, nextMaster); err == nil {
		t.Error("it was not")
	}
	if err := f.k.Rotate(t.Context(), nextMaster[:5]); err == nil {
		t.Error("a short master key was taken")
	}
	f.expectIntact(t, f.k)
}

// Readers see the old rows until the rotation commits.
func TestKeysAreReadDuringARotation(t *testing.T) {
	f := fill(t, func(path string) *Keyring { return open(t, path) })
	next, err := NewWrapper(nextMaster)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := f.k.writer.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := f.k.rewrap(t.Context(), tx, next); err != nil {
		t.Fatal(err)
	}
	f.k.ciphers.Purge()
	for s, sealed := range f.sealed {
		aead, err := f.k.Cipher(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		unseals(t, aead, sealed)
	}
	made := make(chan cipher.AEAD)
	s := stream()
	go func() { aead, _ := f.k.Create(t.Context(), s); made <- aead }() // waits
	if err := f.k.commitRewrapped(tx, next); err != nil {
		t.Fatal(err)
	}
	if aead := <-made; aead == nil {
		t.Fatal("no key was made")
	}
	f.expectIntact(t, f.k)
	unwrapsNothing(t, f.k, master)
}

// After a crash at any point, the files open with all keys, and the rotation can be finished.
func TestMasterKeyFileSurvivesACrashAtEveryPoint(t *testing.T) {
	for killed := range 4 {
		var m Master
		f := fill(t, func(path string) *Keyring {
			m = Master{Path: filepath.Join(filepath.Dir(path), "master.key")}
			if _, err := m.Load(true); err != nil {
				t.Fatal(err)
			}
			return mustOpen(t, m, path)
		})
		before := readFile(t, m.Path)
		for _, step := range m.steps(t.Context(), f.k)[:killed] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		f.k.Close() // says nothing about what is durable; see TestWriterSyncsEveryCommit
		k := mustOpen(t, m, f.path)
		f.expectIntact(t, k)
		if changed := !bytes.Equal(readFile(t, m.Path), before); changed != (killed >= 2) {
			t.Errorf("killed after %d steps, master.key changed: %t", killed, changed)
		}
		k.Close()
		k = mustOpen(t, m, f.path)
		if err := m.Rotate(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		f.expectIntact(t, k)
		k.Close()
		f.expectIntact(t, mustOpen(t, m, f.path))
		if _, err := os.Stat(m.nextPath()); !os.IsNotExist(err) {
			t.Errorf("killed after %d steps and rotated: master.key.next is still there", killed)
		}
		info, err := os.Stat(m.Path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("master.key has mode %v, %v", info.Mode(), err)
		}
	}
}

func mustOpen(t *testing.T, m Master, path string) *Keyring {
	t.Helper()
	k, err := m.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// A staged key may be the only one that opens a copy of keys.db, so it is never replaced.
func TestStagedMasterKeyIsKept(t *testing.T) {
	dir := t.TempDir()
	m := Master{Path: filepath.Join(dir, "master.key")}
	if err := m.stage(); err != nil {
		t.Fatal(err)
	}
	staged := readFile(t, m.nextPath())
	if err := m.stage(); err != nil || !bytes.Equal(readFile(t, m.nextPath()), staged) {
		t.Errorf("%v, or another key", err)
	}
}

func TestMasterKeyOfAnotherKeyringIsRefused(t *testing.T) {
	dir := t.TempDir()
	m := Master{Path: filepath.Join(dir, "master.key")}
	if _, err := m.Load(true); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keys.db")
	open(t, path).Close() // with another master key
	for range 2 {
		if _, err := m.Open(t.Context(), path); !errors.Is(err, ErrWrongMaster) {
			t.Errorf("%v", err)
		}
		if err := m.stage(); err != nil { // which does not fit either
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(m.nextPath(), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open(t.Context(), path); !errors.Is(err, ErrWrongMaster) || !strings.Contains(err.Error(), m.nextPath()) {
		t.Errorf("%v", err)
	}
}

func TestRotationOfAGivenMasterKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.db")
	first, next := hex.EncodeToString(master), hex.EncodeToString(nextMaster)
	k := mustOpen(t, Master{Given: first}, path)
	s := stream()
	sealed := create(t, k, s).Seal(nil, nil, secret, nil)
	if err := (Master{Given: first}).Rotate(t.Context(), k); !errors.Is(err, ErrNoNext) {
		t.Errorf("without a next one: %v", err)
	}
	if err := (Master{Given: first, Next: "hunter2"}).Rotate(t.Context(), k); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a malformed one: %v", err)
	}
	if err := (Master{Given: first, Next: next}).Rotate(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	k.Close()
	for name, m := range map[string]Master{
		"not set yet": {Given: first, Next: next},
		"set":         {Given: next},
		"left over":   {Given: next, Next: first},
	} {
		k := mustOpen(t, m, path)
		aead, err := k.Cipher(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		unseals(t, aead, sealed)
		k.Close()
	}
	if _, err := (Master{Given: first}).Open(t.Context(), path); !errors.Is(err, ErrWrongMaster) {
		t.Errorf("the old one alone: %v", err)
	}
	if entries, err := filepath.Glob(filepath.Join(dir, "master*")); err != nil || len(entries) > 0 {
		t.Errorf("%v was written, %v", entries, err)
	}
}
