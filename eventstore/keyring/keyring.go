// Package keyring stores the keys of streams in keys.db, apart from the log and its backups. With the
// log alone nothing can be read, and an account whose key is destroyed cannot be read in
// any copy of the log.
//
//	master key   32 bytes, in its own file or in the environment
//	   │ wraps
//	   ├──▶ one random key per stream, which encrypts its payloads
//	   └──▶ the random root key, from which Derive computes secrets
//
// The master key only wraps other keys. So a rotation wraps every row again, and payloads and
// claims do not change.
package keyring

import (
	"context"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

var (
	// ErrWrongMaster is matched by Open's error if the file belongs to another master key.
	// Nothing was changed.
	ErrWrongMaster = errors.New("master key is not the one that wraps these keys")

	// ErrDamagedKey is eventstore.ErrDamagedKey: the row of a key was changed, or moved to
	// another stream. Restore the file from its backup.
	ErrDamagedKey = eventstore.ErrDamagedKey

	// ErrNoRoot is matched by Open's error if the file has keys but no root key. Without it,
	// no claim can be found. Restore the file from its backup.
	ErrNoRoot = errors.New("root key is missing")
)

const (
	schema = `CREATE TABLE IF NOT EXISTS keys (
		stream  TEXT PRIMARY KEY,
		wrapped BLOB NOT NULL,    -- nonce and AES-256-GCM ciphertext, bound to the name; see destroy.go
		created INTEGER NOT NULL  -- Unix time in milliseconds
	) STRICT, WITHOUT ROWID`

	// cached is how many ciphers are cached, of about 1 KiB each. A cipher that is not cached
	// costs a query, some 10 microseconds.
	cached = 16384

	readers = 4
)

// Keyring implements eventstore.KeyStore on a SQLite file, for one process at a time.
type Keyring struct {
	path    string
	root    []byte
	writer  *sql.DB
	readers *sql.DB
	lookup  *sql.Stmt
	inserts *sqlitefile.Group[row]

	// mu is held for reading while a key is read from the file and added to ciphers. It is
	// held for writing while keys are destroyed or rewrapped, from the commit until ciphers
	// and wrapper agree with the file. Otherwise a reader could cache a key that was
	// destroyed meanwhile, or unwrap a row with the wrong wrapper. A commit takes the
	// writer's connection first and then mu, never the reverse.
	mu       sync.RWMutex
	wrapper  *Wrapper
	ciphers  *lru.Cache[events.Stream, cipher.AEAD]
	rotating sync.Mutex // one rotation at a time
}

// row is a key that is to be stored.
type row struct {
	name string
	key  []byte
}

// Open opens or creates the file at path. master is the 256-bit master key.
// Errors: ErrWrongMaster, ErrNoRoot, sqlitefile.ErrMalformed, sqlitefile.ErrForeignWAL.
func Open(ctx context.Context, path string, master []byte) (*Keyring, error) {
	k := &Keyring{path: path}
	k.inserts = sqlitefile.NewGroup(k.store)
	err := k.open(ctx, master)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

func (k *Keyring) open(ctx context.Context, master []byte) (err error) {
	if k.wrapper, err = NewWrapper(master); err != nil {
		return err
	}
	if k.ciphers, err = lru.New[events.Stream, cipher.AEAD](cached); err != nil {
		return err
	}
	if err := sqlitefile.Tie(k.path); err != nil {
		return err
	}
	if k.writer, err = sqlitefile.OpenWriter(k.path); err != nil {
		return err
	}
	if _, err = k.writer.ExecContext(ctx, schema); err != nil {
		return k.failed(err)
	}
	if k.readers, err = sqlitefile.OpenReaders(k.path, readers); err != nil {
		return err
	}
	if k.lookup, err = k.readers.PrepareContext(ctx, "SELECT wrapped FROM keys WHERE stream = ?"); err != nil {
		return k.failed(err)
	}
	return k.openRoot(ctx)
}

// openRoot reads the root key. It creates the root key only if the file has no keys: a new root
// key would change the hash of every claim.
func (k *Keyring) openRoot(ctx context.Context) (err error) {
	if k.root, err = k.load(ctx, RootName); errors.Is(err, eventstore.ErrNoKey) {
		var used bool
		if err := k.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM keys)").Scan(&used); err != nil {
			return k.failed(err)
		}
		if used {
			return k.failed(ErrNoRoot)
		}
		k.root, err = k.make(ctx, RootName)
	}
	if errors.Is(err, ErrDamagedKey) {
		return k.failed(ErrWrongMaster)
	}
	return err
}

// Create returns the stream's cipher, and creates the key if the stream has none. Concurrent calls
// for one stream get the same key. The key is durable when Create returns. For a stream whose
// key was destroyed the error is eventstore.ErrDestroyed.
func (k *Keyring) Create(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	aead, err := k.Cipher(ctx, stream)
	if !errors.Is(err, eventstore.ErrNoKey) {
		return aead, err
	}
	if _, err := k.make(ctx, string(stream)); err != nil {
		return nil, err
	}
	return k.Cipher(ctx, stream)
}

// Cipher returns the stream's cipher, or an error that matches eventstore.ErrNoKey or
// eventstore.ErrDestroyed. The cipher puts a random nonce in front of what it seals, which is
// safe for 2^32 messages per key.
func (k *Keyring) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if aead, ok := k.ciphers.Get(stream); ok {
		return aead, nil
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, err := k.read(ctx, string(stream))
	if err != nil {
		return nil, err
	}
	aead, err := NewCipher(key)
	if err != nil {
		return nil, err
	}
	k.ciphers.Add(stream, aead)
	return aead, nil
}

// Derive returns a 256-bit secret for a purpose. It is always the same.
func (k *Keyring) Derive(purpose string) []byte { return Derive(k.root, purpose) }

// Close closes the file. Calls of Create under way succeed or return an error.
func (k *Keyring) Close() error {
	var err error
	for _, db := range []*sql.DB{k.readers, k.writer} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// make stores a new random key under a name, unless the name has a key, and returns the stored
// key.
func (k *Keyring) make(ctx context.Context, name string) ([]byte, error) {
	if err := k.inserts.Add(row{name, NewKey()}); err != nil {
		return nil, k.failed(err)
	}
	return k.load(ctx, name)
}

// store commits new keys. It has no context, because many callers wait for it. The keys are
// wrapped inside the transaction, so that no rotation can commit in between.
func (k *Keyring) store(rows []row) error {
	tx, err := k.writer.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert, err := tx.Prepare("INSERT INTO keys (stream, wrapped, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	for _, r := range rows {
		if _, err := insert.Exec(r.name, k.wrap(r.name, r.key), now); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// wrap encrypts a key for the row with a name. The caller is in a transaction of the writer.
func (k *Keyring) wrap(name string, key []byte) []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.wrapper.Wrap(name, key)
}

// load reads and unwraps the key stored under a name.
func (k *Keyring) load(ctx context.Context, name string) ([]byte, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.read(ctx, name)
}

// read is load while the caller holds mu.
func (k *Keyring) read(ctx context.Context, name string) ([]byte, error) {
	var wrapped []byte
	err := k.lookup.QueryRowContext(ctx, name).Scan(&wrapped)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w %s", eventstore.ErrNoKey, name)
	}
	if err != nil {
		return nil, k.failed(err)
	}
	key, err := k.wrapper.Unwrap(name, wrapped)
	if err != nil {
		return nil, k.failed(err)
	}
	if IsDestroyed(key) {
		return nil, fmt.Errorf("%w: %s", eventstore.ErrDestroyed, name)
	}
	return key, nil
}

// failed names the file in an error.
func (k *Keyring) failed(err error) error {
	return fmt.Errorf("keyring %s: %w", k.path, sqlitefile.Explain(err))
}
