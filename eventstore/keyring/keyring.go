package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

var (
	// ErrWrongMaster is matched by Open's error when the file was made with
	// another master key. Nothing was changed; open it with its own.
	ErrWrongMaster = errors.New("master key is not the one that wraps these keys")

	// ErrDamagedKey is matched by the error for a key whose row was changed, or
	// moved to another stream. Restore the file from its backup.
	ErrDamagedKey = errors.New("stored key is damaged or another stream's")

	// ErrNoRoot is matched by Open's error when the file has keys but lost the
	// row of the root key, without which no claim can be found. Restore the
	// file from its backup.
	ErrNoRoot = errors.New("root key is missing")
)

const (
	schema = `CREATE TABLE IF NOT EXISTS keys (
		stream  TEXT PRIMARY KEY,
		wrapped BLOB NOT NULL,    -- nonce and AES-256-GCM ciphertext, bound to the name
		created INTEGER NOT NULL  -- Unix time in milliseconds
	) STRICT, WITHOUT ROWID`

	// The rows that hold no stream's key. No stream is called so: they have no hyphen.
	rootName = "root" // the root key
	logName  = "log"  // the id of the log that the keys belong to

	// cached is how many ciphers are kept ready, of about 1 KiB each. Another
	// one costs a look-up in the file, some 10 microseconds.
	cached = 16384

	readers = 4
)

// Keyring implements eventstore.Keys on a SQLite file.
type Keyring struct {
	path    string
	wrapper cipher.AEAD // of the master key
	root    []byte
	writer  *sql.DB
	readers *sql.DB
	lookup  *sql.Stmt
	inserts *sqlitefile.Group[row]
	ciphers *lru.Cache[events.Stream, cipher.AEAD]
}

// row is a wrapped key as the file keeps it.
type row struct {
	name    string
	wrapped []byte
}

// Open opens or makes the file at path. master is the 256-bit master key.
// Errors: ErrWrongMaster, ErrNoRoot, sqlitefile.ErrMalformed.
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
	if k.wrapper, err = newCipher(master); err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	if k.ciphers, err = lru.New[events.Stream, cipher.AEAD](cached); err != nil {
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

// openRoot reads the root key, and makes it in a file that has no key yet. A
// new one beside old keys would silently give every claim another hash.
func (k *Keyring) openRoot(ctx context.Context) (err error) {
	if k.root, err = k.load(ctx, rootName); errors.Is(err, eventstore.ErrNoKey) {
		var used bool
		if err := k.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM keys)").Scan(&used); err != nil {
			return k.failed(err)
		}
		if used {
			return k.failed(ErrNoRoot)
		}
		k.root, err = k.make(ctx, rootName)
	}
	if errors.Is(err, ErrDamagedKey) {
		return k.failed(ErrWrongMaster)
	}
	return err
}

// Create returns the stream's cipher, made if the stream has none. Concurrent
// calls for one stream get the same key. The key is durable when it returns.
func (k *Keyring) Create(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	aead, err := k.Cipher(ctx, stream)
	if !errors.Is(err, eventstore.ErrNoKey) {
		return aead, err
	}
	key, err := k.make(ctx, string(stream))
	if err != nil {
		return nil, err
	}
	return k.remember(stream, key)
}

// Cipher returns the stream's cipher, or an error that matches
// eventstore.ErrNoKey. It puts a random nonce in front of what it seals, which
// is safe for 2^32 messages a key.
func (k *Keyring) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if aead, ok := k.ciphers.Get(stream); ok {
		return aead, nil
	}
	key, err := k.load(ctx, string(stream))
	if err != nil {
		return nil, err
	}
	return k.remember(stream, key)
}

// Derive returns a 256-bit secret of this keyring for one purpose, always the same.
func (k *Keyring) Derive(purpose string) []byte {
	secret, err := hkdf.Key(sha256.New, k.root, nil, purpose, keySize)
	if err != nil {
		panic(err) // only for lengths that HKDF cannot give
	}
	return secret
}

// Close frees the file. Keys that are being created are stored or not, and
// their callers are told.
func (k *Keyring) Close() error {
	var err error
	for _, db := range []*sql.DB{k.readers, k.writer} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

func (k *Keyring) remember(stream events.Stream, key []byte) (cipher.AEAD, error) {
	aead, err := newCipher(key)
	if err != nil {
		return nil, err
	}
	k.ciphers.Add(stream, aead)
	return aead, nil
}

// make stores a new random key under a name and returns the key that the name
// has then: the one of whoever came first.
func (k *Keyring) make(ctx context.Context, name string) ([]byte, error) {
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	if err := k.inserts.Add(row{name, k.wrapper.Seal(nil, nil, key, []byte(name))}); err != nil {
		return nil, k.failed(err)
	}
	return k.load(ctx, name)
}

// store commits new keys. Its context is nobody's: many callers wait for it.
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
		if _, err := insert.Exec(r.name, r.wrapped, now); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// load reads and unwraps the key stored under a name.
func (k *Keyring) load(ctx context.Context, name string) ([]byte, error) {
	var wrapped []byte
	err := k.lookup.QueryRowContext(ctx, name).Scan(&wrapped)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w %s", eventstore.ErrNoKey, name)
	}
	if err != nil {
		return nil, k.failed(err)
	}
	key, err := k.wrapper.Open(nil, nil, wrapped, []byte(name))
	if err != nil {
		return nil, k.failed(fmt.Errorf("key of %s: %w", name, ErrDamagedKey))
	}
	return key, nil
}

// failed names the file in an error.
func (k *Keyring) failed(err error) error {
	return fmt.Errorf("keyring %s: %w", k.path, sqlitefile.Explain(err))
}

func newCipher(key []byte) (cipher.AEAD, error) {
	if len(key) != keySize { // AES takes shorter ones too
		return nil, fmt.Errorf("key has %d bytes, not %d", len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
