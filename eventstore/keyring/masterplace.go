package keyring

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNoNext is matched by Master.Rotate's error when the master key is given by
// the environment and the next one is not. Nothing was changed.
var ErrNoNext = errors.New("set KONTO_NEXT_MASTER_KEY to the next master key")

// Master is where the master key is kept.
//
// Of a file, the key of a rotation under way is beside it, as PATH.next:
//
//	                 keys.db is wrapped by   opens with
//	write PATH.next  PATH                    PATH
//	commit           PATH.next               PATH.next, which becomes PATH
//	rename           PATH                    PATH
//
// A PATH.next that never came to its commit is left alone: the next rotation
// takes it. To remove it would be to lose the keys, if keys.db was exchanged
// for its backup in between.
type Master struct {
	Path  string // of its file, when Given is empty
	Given string // value of KONTO_MASTER_KEY, 64 hex digits
	Next  string // value of KONTO_NEXT_MASTER_KEY
}

// Load is LoadMaster.
func (m Master) Load(fresh bool) ([]byte, error) { return LoadMaster(m.Path, m.Given, fresh) }

// Open opens the keyring in the file keys, with the present master key or with
// that of a rotation which was cut off, or after which KONTO_MASTER_KEY was not
// set anew. Errors: those of Load and of the package's Open.
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
		return nil, err // of the present key, which should have fitted
	}
	if err := m.settle(); err != nil {
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

// Rotate wraps the keyring's keys with the next master key and puts that in the
// place of the present one. A key given by the environment is replaced there by
// whoever gave it, before the next start without KONTO_NEXT_MASTER_KEY. After an
// error, Open finds out how far it came; Rotate may be called again.
//
// A copy of keys.db from before can be opened with the old key alone.
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

// steps are those of a rotation; after each of them, konto may be killed.
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
		m.settle,
	}
}

// stage makes the next master key durable, unless it is there.
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

// settle puts the file of the next master key in the place of the present one's.
func (m Master) settle() error {
	if m.Given != "" {
		return nil
	}
	if err := os.Rename(m.nextPath(), m.Path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(m.Path))
}

func (m Master) nextPath() string { return m.Path + ".next" }
