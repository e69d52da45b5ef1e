package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// How many rows are cached, of some 1.5 kB an account and 0.5 kB a credential.
const (
	cachedAccounts    = 16384
	cachedCredentials = 16384
	rememberedUses    = 65536 // of some 150 bytes
)

// ReadModel is read.db: the accounts (AccountMe), the credentials (access) and the
// third parties, with the position that they are at. It is a Projection.
//
// The file is a copy of what the log holds. It may be deleted while konto is
// stopped: the follower fills it again.
type ReadModel struct {
	path string
	log  eventstore.Log
	keys eventstore.Keys

	// exchange is locked for reading while file is used, and for writing while a
	// rebuilt file takes its place. A goroutine that holds the lock must not lock it
	// again: an exchange may have begun to wait between the two.
	exchange sync.RWMutex
	file     *modelFile

	applying    sync.Mutex              // only Apply may change the rows that it reads from the caches
	accounts    *cache[*events.Account] // the accounts are never changed
	credentials *cache[events.Credential]

	uses *lru.Cache[ulid.ULID, time.Time] // when each credential was used last

	rebuilding sync.Mutex    // one rebuild at a time
	closing    chan struct{} // is closed by Close, and ends a rebuild
	closed     sync.Once
}

// OpenReadModel opens or creates the file at path. Rows are encrypted with the keys of
// their streams, so that the content of a row is lost with its key. A file of another
// schema, another keyring, or another history than the log's is recreated, its cursors
// included, and the follower fills it from the log. A file that is damaged or no read
// model is left alone; it is an error.
func OpenReadModel(ctx context.Context, path string, log eventstore.Log, keys eventstore.Keys) (*ReadModel, error) {
	m := newReadModel(path, log, keys)
	if err := m.open(ctx); err != nil {
		return nil, fmt.Errorf("read model: %w", advise(err))
	}
	return m, nil
}

func newReadModel(path string, log eventstore.Log, keys eventstore.Keys) *ReadModel {
	uses, err := lru.New[ulid.ULID, time.Time](rememberedUses)
	if err != nil {
		panic(err) // the size is not positive
	}
	return &ReadModel{
		path: path, log: log, keys: keys,
		accounts:    newCache[*events.Account](cachedAccounts),
		credentials: newCache[events.Credential](cachedCredentials),
		uses:        uses,
		closing:     make(chan struct{}),
	}
}

func (m *ReadModel) open(ctx context.Context) error {
	// An interrupted rebuild left this file. No rebuild runs now: only this process
	// runs any, and only while the file is open.
	if err := removeDatabase(m.nextPath()); err != nil {
		return err
	}
	writer, err := m.logFile().Open(ctx)
	if err != nil {
		return err
	}
	m.file, err = openModelFile(ctx, m.path, writer)
	return err
}

// Close closes the file. A rebuild that runs is ended first.
func (m *ReadModel) Close() error {
	m.closed.Do(func() { close(m.closing) })
	m.rebuilding.Lock()
	defer m.rebuilding.Unlock()
	m.exchange.Lock()
	defer m.exchange.Unlock()
	return m.file.close()
}

// Position implements Projection.
func (m *ReadModel) Position(ctx context.Context) (position uint64, err error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	err = m.file.readers.QueryRowContext(ctx, "SELECT position FROM progress").Scan(&position)
	return position, m.wrap("read the position in", err)
}

// Cursor returns the value that was last set under a name, nil if there is none. It is
// for followers that write elsewhere and need to remember their position.
func (m *ReadModel) Cursor(ctx context.Context, name string) (value []byte, err error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	err = m.file.readers.QueryRowContext(ctx, "SELECT value FROM cursor WHERE name = ?", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, m.wrap("read a cursor in", err)
}

// SetCursor sets the value under a name, durably. It is lost when the file is
// deleted or recreated, so its owner must be able to find it out again.
func (m *ReadModel) SetCursor(ctx context.Context, name string, value []byte) error {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	_, err := m.file.writer.ExecContext(ctx, setCursor, name, value)
	return m.wrap("set a cursor in", err)
}

// setCursor syncs its commit, unlike the commits of rows: a cursor does not follow from
// the log, and its owner relies on never seeing an earlier one. If the statements fail
// half-way, commits are synced until the next cursor is set.
const setCursor = `PRAGMA synchronous = FULL;
	INSERT INTO cursor (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;
	PRAGMA synchronous = NORMAL`

// Account returns one account as of the read model's position.
func (m *ReadModel) Account(ctx context.Context, id ulid.ULID) (a events.Account, ok bool, err error) {
	kept, ok, generation := m.accounts.get(id)
	if ok {
		return *kept, true, nil
	}
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	a, ok, err = m.readAccount(ctx, m.file.selectAccount.QueryRowContext(ctx, id[:]))
	if err != nil {
		return a, false, m.wrap("read an account in", err)
	}
	if ok {
		m.accounts.add(id, &a, generation)
	}
	return a, ok, nil
}

// Credential returns one credential as of the read model's position, revoked or
// not. The caller must not change what its slices point to.
func (m *ReadModel) Credential(ctx context.Context, id ulid.ULID) (c events.Credential, ok bool, err error) {
	c, ok, generation := m.credentials.get(id)
	if ok {
		return c, true, nil
	}
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	c, ok, err = m.readCredential(ctx, m.file.selectCredential.QueryRowContext(ctx, id[:]))
	if err != nil {
		return c, false, m.wrap("read a credential in", err)
	}
	if ok && c.Revoked.IsZero() {
		m.credentials.add(id, c, generation)
	}
	return c, ok, nil
}

// wrap adds to an error what failed on which file.
func (m *ReadModel) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s read model %s: %w", doing, m.path, advise(err))
}

// advise adds to the error of a damaged file what an operator can do.
func advise(err error) error {
	if err = sqlitefile.Explain(err); errors.Is(err, sqlitefile.ErrMalformed) {
		return fmt.Errorf("%w; it is only a copy of the log: stop konto and delete the file, it will be rebuilt", err)
	}
	return err
}
