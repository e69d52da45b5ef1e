package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
)

// The names under which a store of keys has what is no stream's key. The name of a stream contains
// a hyphen.
const (
	RootName = "root" // the root key
	LogName  = "log"  // the id of the log that the keys belong to
)

// Tombstone returns what is stored in place of a destroyed key. It is wrapped like a key, so that a
// damaged row is never taken for a destroyed key. It has the length of a key, so that SQLite
// overwrites the old bytes in place. With a shorter row, SQLite moves neighbouring rows sooner or
// later and leaves copies in free space, even with secure_delete (2 of 20,000 destroyed keys
// remained, of 60,000).
func Tombstone() []byte { return make([]byte, keySize) }

// IsDestroyed reports whether an unwrapped key is a tombstone.
func IsDestroyed(key []byte) bool { return bytes.Equal(key, Tombstone()) }

// NewKey returns a random key of 256 bits.
func NewKey() []byte {
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	return key
}

// NewCipher returns AES-256-GCM with a key of 256 bits. It puts a random nonce in front of what it
// seals, which is safe for 2^32 messages per key.
func NewCipher(key []byte) (cipher.AEAD, error) {
	if len(key) != keySize { // AES accepts shorter keys too
		return nil, fmt.Errorf("key has %d bytes, not %d", len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Derive returns a 256-bit secret for a purpose from a root key.
func Derive(root []byte, purpose string) []byte {
	secret, err := hkdf.Key(sha256.New, root, nil, purpose, keySize)
	if err != nil {
		panic(err) // only for lengths that HKDF cannot give
	}
	return secret
}

// MasterID distinguishes master keys. It tells nothing about the key.
type MasterID [8]byte

// Wrapper wraps keys with one master key.
type Wrapper struct {
	id   MasterID
	aead cipher.AEAD
}

// NewWrapper returns a wrapper with a master key of 256 bits.
func NewWrapper(master []byte) (*Wrapper, error) {
	aead, err := NewCipher(master)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return &Wrapper{MasterID(Derive(master, "id of a master key")), aead}, nil
}

// ID returns the id of the master key.
func (w *Wrapper) ID() MasterID { return w.id }

// Wrap encrypts what is stored under a name, such as a key or a tombstone.
func (w *Wrapper) Wrap(name string, key []byte) []byte {
	return w.aead.Seal(nil, nil, key, []byte(name))
}

// Unwrap returns what Wrap was given. The error matches ErrDamagedKey if wrapped was changed, is
// another name's, or was wrapped with another master key.
func (w *Wrapper) Unwrap(name string, wrapped []byte) ([]byte, error) {
	key, err := w.aead.Open(nil, nil, wrapped, []byte(name))
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", name, ErrDamagedKey)
	}
	return key, nil
}

// Wrappers returns the wrapper of the present master key, and that of the next one, or nil if there
// is none. It creates no file. Errors: those of LoadMaster.
func (m Master) Wrappers() (present, next *Wrapper, err error) {
	key, err := m.Load(false)
	if err != nil {
		return nil, nil, err
	}
	if present, err = NewWrapper(key); err != nil {
		return nil, nil, err
	}
	key, err = m.next()
	if errors.Is(err, ErrNoNext) || errors.Is(err, fs.ErrNotExist) {
		return present, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	next, err = NewWrapper(key)
	return present, next, err
}
