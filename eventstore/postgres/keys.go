package postgres

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlitefile"
)

const (
	// cachedKeys is how many ciphers are cached, of about 1 KiB each, and how many ended streams
	// are remembered.
	cachedKeys = 16384

	keysPage = 1000 // rows that are checked or rewrapped at a time
)

// Keys implements eventstore.KeyStore on Postgres. Several nodes may have the same keys open, each
// with the same master key. While the master key is exchanged, each node has the present and the
// next one, and a row tells which of them wraps it; see Rotate.
type Keys struct {
	db      *Database
	masters []*keyring.Wrapper // the present master key, and the next one if it is given
	root    []byte
	inserts *sqlitefile.Group[keyRow] // which has nothing of SQLite in it

	mu      sync.Mutex // held while a cipher is added or evicted
	ciphers *lru.Cache[events.Stream, cipher.AEAD]
	ended   *lru.Cache[events.Stream, struct{}] // streams whose ciphers are not cached any more
	// Streams whose keys were read as destroyed. They stay so.
	destroyed *lru.Cache[events.Stream, struct{}]
}

// keyRow is a key that is to be stored under a name.
type keyRow struct {
	name string
	key  []byte
}

// storedKey is a row of the table.
type storedKey struct {
	name            string
	wrapped, master []byte
	page            int64 // of the table
}

// OpenKeys opens the keys in a database, and makes the schema and the root key if there are no keys.
// It makes no master key, because each node would make another. Closing the keys closes the database
// too. Errors: those of keyring.LoadMaster, keyring.ErrWrongMaster, keyring.ErrNoRoot,
// eventstore.ErrDamagedKey.
func OpenKeys(ctx context.Context, db *Database, master keyring.Master) (*Keys, error) {
	present, next, err := master.Wrappers()
	if err != nil {
		return nil, err
	}
	k := &Keys{db: db, masters: []*keyring.Wrapper{present}}
	if next != nil {
		k.masters = append(k.masters, next)
	}
	k.inserts = sqlitefile.NewGroup(k.store)
	// New fails only for a size below 1.
	k.ciphers, _ = lru.New[events.Stream, cipher.AEAD](cachedKeys)
	k.ended, _ = lru.New[events.Stream, struct{}](cachedKeys)
	k.destroyed, _ = lru.New[events.Stream, struct{}](cachedKeys)
	conn := stdlib.OpenDB(*db.cfg.Copy())
	defer conn.Close()
	if err := apply(ctx, conn, "migrations/keys", "keys"); err != nil {
		return nil, fmt.Errorf("the schema of the keys: %w", err)
	}
	if k.root, err = k.openRoot(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// openRoot returns the root key. It makes one only if there are no keys: a new root key would change
// the hash of every claim. Nodes that start together read the one that was stored.
func (k *Keys) openRoot(ctx context.Context) ([]byte, error) {
	root, err := k.load(ctx, keyring.RootName)
	if !errors.Is(err, eventstore.ErrNoKey) {
		return root, err
	}
	id := k.masters[0].ID()
	wrapped := k.masters[0].Wrap(keyring.RootName, keyring.NewKey())
	err = k.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO keys.keys (name, wrapped, master, created)
			SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT 1 FROM keys.keys) ON CONFLICT DO NOTHING`,
			keyring.RootName, wrapped, id[:], time.Now().UnixMilli())
		return err
	})
	if err != nil {
		return nil, inKeys(err)
	}
	root, err = k.load(ctx, keyring.RootName)
	if errors.Is(err, eventstore.ErrNoKey) {
		return nil, inKeys(keyring.ErrNoRoot)
	}
	return root, err
}

// Create implements eventstore.Keys. It waits for Postgres until ctx ends. The key may be stored
// even if Create returns an error.
func (k *Keys) Create(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if aead, ok := k.ciphers.Get(stream); ok {
		return aead, nil
	}
	if err := k.insert(ctx, string(stream), keyring.NewKey()); err != nil {
		return nil, err
	}
	return k.Cipher(ctx, stream)
}

// Cipher implements eventstore.Keys. What it returns is durable, whichever node created it. An
// error that matches keyring.ErrWrongMaster means that this node lacks a master key.
func (k *Keys) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	if aead, ok := k.ciphers.Get(stream); ok {
		return aead, nil
	}
	if k.destroyed.Contains(stream) {
		return nil, inKeys(fmt.Errorf("%w: %s", eventstore.ErrDestroyed, stream))
	}
	key, err := k.load(ctx, string(stream))
	if errors.Is(err, eventstore.ErrDestroyed) {
		k.destroyed.Add(stream, struct{}{})
	}
	if err != nil {
		return nil, err
	}
	return k.cache(stream, key)
}

// cache caches the cipher with a key, unless the stream has ended.
func (k *Keys) cache(stream events.Stream, key []byte) (cipher.AEAD, error) {
	aead, err := keyring.NewCipher(key)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	// The stream may have ended after the key was read.
	if !k.ended.Contains(stream) {
		k.ciphers.Add(stream, aead)
	}
	return aead, nil
}

// Prefetch implements eventstore.Prefetcher. It reads in one query what is not cached.
func (k *Keys) Prefetch(ctx context.Context, streams ...events.Stream) error {
	var names []string
	for _, stream := range streams {
		if !k.ciphers.Contains(stream) && !k.destroyed.Contains(stream) && !k.ended.Contains(stream) {
			names = append(names, string(stream))
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 2 {
		return nil
	}
	found, err := k.rows(ctx, `name = ANY($1)`, names)
	if err != nil {
		return err
	}
	for _, r := range found {
		stream := events.Stream(r.name)
		key, err := k.unwrap(r)
		switch {
		case err != nil: // Cipher returns it
		case keyring.IsDestroyed(key):
			k.destroyed.Add(stream, struct{}{})
		default:
			if _, err := k.cache(stream, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// Ended implements eventstore.KeyStore. It evicts the streams' ciphers and remembers the streams, so
// that their ciphers are not cached again. It remembers the last 16,384 of them: Destroy is meant to
// follow soon.
func (k *Keys) Ended(streams ...events.Stream) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, stream := range streams {
		k.ended.Add(stream, struct{}{})
		k.ciphers.Remove(stream)
	}
}

// Derive implements eventstore.Keys.
func (k *Keys) Derive(purpose string) []byte { return keyring.Derive(k.root, purpose) }

// Bind implements eventstore.KeyStore. Of nodes that bind new keys to different logs, one succeeds.
func (k *Keys) Bind(ctx context.Context, log []byte, empty bool) error {
	bound, err := k.load(ctx, keyring.LogName)
	if errors.Is(err, eventstore.ErrNoKey) && empty {
		if err := k.insert(ctx, keyring.LogName, log); err != nil {
			return err
		}
		bound, err = k.load(ctx, keyring.LogName)
	}
	switch {
	case errors.Is(err, eventstore.ErrNoKey):
		return inKeys(keyring.ErrOtherLog)
	case err != nil:
		return err
	case !bytes.Equal(bound, log):
		return inKeys(keyring.ErrOtherLog)
	}
	return nil
}

// Bound implements eventstore.KeyStore.
func (k *Keys) Bound(ctx context.Context) (bool, error) {
	_, err := k.load(ctx, keyring.LogName)
	if errors.Is(err, eventstore.ErrNoKey) {
		return false, nil
	}
	return err == nil, err
}

// Check implements eventstore.KeyStore. The error matches keyring.ErrWrongMaster if this node lacks
// the master key of a row.
func (k *Keys) Check(ctx context.Context) error {
	for after := ""; ; {
		page, err := k.rows(ctx, `name > $1 ORDER BY name LIMIT $2`, after, keysPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if _, err := k.unwrap(r); err != nil {
				return err
			}
			after = r.name
		}
	}
}

// Count implements eventstore.KeyStore.
func (k *Keys) Count(ctx context.Context) (n uint64, err error) {
	err = k.db.Read(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT count(*) FROM keys.keys`).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	})
	return n, inKeys(err)
}

// ErrOtherKeys is matched by Put's error if keys were stored that are not those to be put.
var ErrOtherKeys = errors.New("there are other keys already; take an empty database")

// Put stores a key of another store of keys under a name, durably. A root key is put first, before
// anything is derived from it: it replaces the one that OpenKeys has made, and what Bind has stored,
// as long as no stream has a key. A name that has the same key already is no error. If it has
// another key, or streams have keys and the root key is another, the error matches ErrOtherKeys and
// nothing was changed. A destroyed key is put as keyring.Tombstone. Names other than that of the root
// key may be put concurrently.
func (k *Keys) Put(ctx context.Context, name string, key []byte) error {
	if name == keyring.RootName {
		return inKeys(k.putRoot(ctx, key))
	}
	if err := k.insert(ctx, name, key); err != nil {
		return err
	}
	stored, err := k.load(ctx, name)
	if errors.Is(err, eventstore.ErrDestroyed) {
		stored, err = keyring.Tombstone(), nil
	}
	if err == nil && !bytes.Equal(stored, key) {
		err = inKeys(fmt.Errorf("%w: %s", ErrOtherKeys, name))
	}
	return err
}

func (k *Keys) putRoot(ctx context.Context, key []byte) error {
	err := k.write(ctx, func(tx pgx.Tx) error {
		root, err := lockKeys(ctx, tx, `name = $1`, keyring.RootName) // until the end nobody stores a key
		if err != nil {
			return err
		}
		if len(root) == 0 {
			return keyring.ErrNoRoot
		}
		stored, err := k.unwrap(root[0])
		if err != nil || bytes.Equal(stored, key) {
			return err
		}
		w, err := k.wrapper(keyring.RootName, root[0].master)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE keys.keys SET wrapped = $3 WHERE name = $1
			AND NOT EXISTS (SELECT FROM keys.keys WHERE name NOT IN ($1, $2))`,
			keyring.RootName, keyring.LogName, w.Wrap(keyring.RootName, key))
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrOtherKeys
		}
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM keys.keys WHERE name = $1`, keyring.LogName)
		}
		return err
	})
	if err == nil {
		k.root = key
	}
	return err
}

// Close closes the database. It may be called several times, and beside the Close of a log in the
// same database; close the log first.
func (k *Keys) Close() error {
	k.db.Close()
	return nil
}

// insert stores a key under a name, unless the name has one. It shares a transaction with others,
// which does not end with ctx.
func (k *Keys) insert(ctx context.Context, name string, key []byte) error {
	stored := make(chan error, 1)
	go func() { stored <- k.inserts.Add(keyRow{name, key}) }()
	select {
	case err := <-stored:
		return inKeys(err)
	case <-ctx.Done():
		return inKeys(ctx.Err())
	}
}

// store stores new keys in one transaction. Rows are always locked in the order of their names:
// otherwise two nodes that store the same names could each wait for the other.
func (k *Keys) store(keys []keyRow) error {
	ctx := context.Background()
	slices.SortFunc(keys, func(a, b keyRow) int { return strings.Compare(a.name, b.name) })
	return k.write(ctx, func(tx pgx.Tx) error {
		w, err := k.current(ctx, tx)
		if err != nil {
			return err
		}
		return insertKeys(ctx, tx, w, keys)
	})
}

// insertKeys stores keys under names that have none.
func insertKeys(ctx context.Context, tx pgx.Tx, w *keyring.Wrapper, keys []keyRow) error {
	id := w.ID()
	names, wrapped := make([]string, len(keys)), make([][]byte, len(keys))
	for i, r := range keys {
		names[i], wrapped[i] = r.name, w.Wrap(r.name, r.key)
	}
	_, err := tx.Exec(ctx, `INSERT INTO keys.keys (name, wrapped, master, created)
		SELECT name, wrapped, $3::bytea, $4::bigint FROM unnest($1::text[], $2::bytea[]) AS new (name, wrapped)
		ON CONFLICT DO NOTHING`, names, wrapped, id[:], time.Now().UnixMilli())
	return err
}

// current returns the wrapper of new keys: that of the root key. Until the transaction ends, no
// rotation can begin. So no key is wrapped with the old master key after a rotation has begun.
func (k *Keys) current(ctx context.Context, tx pgx.Tx) (*keyring.Wrapper, error) {
	var master []byte
	err := tx.QueryRow(ctx, `SELECT master FROM keys.keys WHERE name = $1 FOR SHARE`, keyring.RootName).Scan(&master)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, keyring.ErrNoRoot
	}
	if err != nil {
		return nil, err
	}
	return k.wrapper(keyring.RootName, master)
}

// write runs a transaction that may be repeated, until it is known whether it was stored.
func (k *Keys) write(ctx context.Context, do func(tx pgx.Tx) error) error {
	for {
		err := k.db.Write(ctx, do)
		if !errors.Is(err, eventstore.ErrOutcomeUnknown) || ctx.Err() != nil {
			return err
		}
		k.db.pool.Reset() // the server may have been replaced
		k.db.pause(retryEvery)
	}
}

// load reads and unwraps the key stored under a name.
func (k *Keys) load(ctx context.Context, name string) ([]byte, error) {
	found, err := k.rows(ctx, `name = $1`, name)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w %s", eventstore.ErrNoKey, name)
	}
	key, err := k.unwrap(found[0])
	if err == nil && keyring.IsDestroyed(key) {
		err = fmt.Errorf("%w: %s", eventstore.ErrDestroyed, name)
	}
	return key, err
}

// rows reads the rows that a condition selects.
func (k *Keys) rows(ctx context.Context, where string, args ...any) (found []storedKey, err error) {
	err = k.db.Read(ctx, func(b *pgx.Batch) {
		b.Queue(selectKeys+where, args...).Query(func(rows pgx.Rows) (err error) {
			found, err = pgx.CollectRows(rows, scanKey)
			return err
		})
	})
	return found, inKeys(err)
}

// lockKeys reads rows that nobody else can change until the transaction ends.
func lockKeys(ctx context.Context, tx pgx.Tx, where string, args ...any) ([]storedKey, error) {
	rows, err := tx.Query(ctx, selectKeys+where+` FOR UPDATE`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanKey)
}

const (
	pageOf     = `(keys.ctid::text::point)[0]::bigint`
	selectKeys = `SELECT name, wrapped, master, ` + pageOf + ` FROM keys.keys WHERE `
)

func scanKey(row pgx.CollectableRow) (r storedKey, err error) {
	err = row.Scan(&r.name, &r.wrapped, &r.master, &r.page)
	return r, err
}

// unwrap unwraps a row with the master key that it names.
func (k *Keys) unwrap(r storedKey) ([]byte, error) {
	w, err := k.wrapper(r.name, r.master)
	if err != nil {
		return nil, inKeys(err)
	}
	key, err := w.Unwrap(r.name, r.wrapped)
	return key, inKeys(err)
}

// wrapper returns the wrapper of the master key with an id.
func (k *Keys) wrapper(name string, master []byte) (*keyring.Wrapper, error) {
	for _, w := range k.masters {
		if id := w.ID(); bytes.Equal(id[:], master) {
			return w, nil
		}
	}
	return nil, fmt.Errorf("the key of %s is wrapped by the master key with the id %x, which this node does not have: %w; "+
		"give the node both the old and the new master key, one of them as KONTO_NEXT_MASTER_KEY or in master.key.next", name, master, keyring.ErrWrongMaster)
}

// inKeys says of an error that it is about the keys.
func inKeys(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("keys in Postgres: %w", err)
}
