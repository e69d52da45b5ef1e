package keyring

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"konto/eventstore/sqlitefile"
)

// keySize is the length of every key in bytes.
const keySize = 32

// ErrNoMaster is matched by LoadMaster's error if no master key was given and its file is missing,
// although something was encrypted with it. Nothing was changed. Restore the file.
var ErrNoMaster = errors.New("master key is missing")

// LoadMaster returns the master key. If given is not empty, it is the value of KONTO_MASTER_KEY, 64
// hex digits. Otherwise the key is read from the file at path. If the file is missing and fresh
// is true, because nothing was encrypted yet, LoadMaster creates it with mode 0600. It refuses
// a file that other users may read.
func LoadMaster(path, given string, fresh bool) ([]byte, error) {
	if given != "" {
		return parseMaster("KONTO_MASTER_KEY", []byte(given))
	}
	key, err := readMaster(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if !fresh {
		return nil, fmt.Errorf("%w: %s is needed to read what was encrypted with it; restore the file or set KONTO_MASTER_KEY", ErrNoMaster, path)
	}
	if err := makeMaster(path); err != nil {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	return readMaster(path)
}

func readMaster(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("master key %s is not a file; konto follows no links", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("master key %s is open to other users (mode %04o); run chmod 600 on it", path, info.Mode().Perm())
	}
	text, err := sqlitefile.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	return parseMaster(path, text)
}

// parseMaster names the source of the key in its error, but no digits of it.
func parseMaster(source string, text []byte) ([]byte, error) {
	key, err := hex.AppendDecode(nil, bytes.TrimSpace(text))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("master key %s is not %d hex digits", source, hex.EncodedLen(keySize))
	}
	return key, nil
}

// makeMaster writes a new key to path. The key is durable before anything is wrapped with it. The
// file gets its name when it is complete, so a crash cannot leave half a key. It never
// replaces an existing file.
func makeMaster(path string) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // with O_EXCL and mode 0600
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		err = errors.Join(err, os.Remove(f.Name()), sqlitefile.SyncName(path))
	}()
	if _, err := fmt.Fprintf(f, "%x\n", NewKey()); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// ErrNoNext is matched by Master.Rotate's error if the environment has a master key but no next
// master key. Nothing was changed.
var ErrNoNext = errors.New("set KONTO_NEXT_MASTER_KEY to the next master key")

// Master is the place of the master key.
//
// If it is a file, a rotation stores the next key in PATH.next:
//
//	                 keys.db is wrapped by   opens with
//	write PATH.next  PATH                    PATH
//	commit           PATH.next               PATH.next, which becomes PATH
//	rename           PATH                    PATH
//
// If a rotation stops before the commit, PATH.next stays, and the next rotation uses it. It is never
// deleted, because keys.db may have been replaced meanwhile by a copy that needs it.
type Master struct {
	Path  string // of the file, if Given is empty
	Given string // value of KONTO_MASTER_KEY, 64 hex digits
	Next  string // value of KONTO_NEXT_MASTER_KEY
}

// Load is LoadMaster.
func (m Master) Load(fresh bool) ([]byte, error) { return LoadMaster(m.Path, m.Given, fresh) }

// Open opens the keyring in the file keys with the present master key. If that does not fit, it tries
// the next one, because a rotation may have been interrupted, or KONTO_MASTER_KEY may have the
// old value. Errors: those of Load and of the package's Open.
func (m Master) Open(ctx context.Context, keys string) (*Keyring, error) {
	k, err := m.openPresent(ctx, keys)
	if !errors.Is(err, ErrWrongMaster) {
		return k, err
	}
	master, nextErr := m.next()
	if errors.Is(nextErr, ErrNoNext) || errors.Is(nextErr, fs.ErrNotExist) {
		return nil, err
	}
	if nextErr != nil {
		return nil, errors.Join(err, nextErr)
	}
	k, nextErr = Open(ctx, keys, master)
	if nextErr != nil {
		return nil, err // of the present key
	}
	if err := m.replaceFile(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

func (m Master) openPresent(ctx context.Context, keys string) (*Keyring, error) {
	master, err := m.Load(false)
	if err != nil {
		return nil, err
	}
	return Open(ctx, keys, master)
}

// Rotate wraps the keyring's keys with the next master key, which then replaces the present one. If
// the master key is in the environment, the operator replaces it there, before the next start
// without KONTO_NEXT_MASTER_KEY. After an error, Open finds the right key, and Rotate may be
// called again.
//
// An older copy of keys.db can only be opened with the old key.
func (m Master) Rotate(ctx context.Context, k *Keyring) error {
	k.rotating.Lock()
	defer k.rotating.Unlock()
	for _, step := range m.steps(ctx, k) {
		if err := step(); err != nil {
			return fmt.Errorf("rotate master key: %w", err)
		}
	}
	return nil
}

// steps returns the steps of a rotation. A crash after each of them is safe.
func (m Master) steps(ctx context.Context, k *Keyring) []func() error {
	return []func() error{
		m.stage,
		func() error {
			master, err := m.next()
			if err != nil {
				return err
			}
			return k.rotate(ctx, master)
		},
		m.replaceFile,
	}
}

// stage creates the file of the next master key, unless it exists.
func (m Master) stage() error {
	_, err := m.next()
	if m.Given == "" && errors.Is(err, fs.ErrNotExist) {
		return makeMaster(m.nextPath())
	}
	return err
}

func (m Master) next() ([]byte, error) {
	switch {
	case m.Given == "":
		return readMaster(m.nextPath())
	case m.Next == "":
		return nil, ErrNoNext
	}
	return parseMaster("KONTO_NEXT_MASTER_KEY", []byte(m.Next))
}

// replaceFile replaces the file of the present master key by that of the next one.
func (m Master) replaceFile() error {
	if m.Given != "" {
		return nil
	}
	if err := os.Rename(m.nextPath(), m.Path); err != nil {
		return err
	}
	return sqlitefile.SyncName(m.Path)
}

func (m Master) nextPath() string { return m.Path + ".next" }
