package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// How many rows are cached, of some 1.5 kB an account and 0.5 kB a credential.
const (
	cachedAccounts    = 16384
	cachedCredentials = 16384
)

// ReadModel is read.db: the accounts (AccountMe), the credentials (access) and
// the third parties, with the position they are at. It is a Projection.
//
// The file is a copy of what the log holds and may be deleted while konto is
// stopped: the follower rebuilds it.
type ReadModel struct {
	path string
	log  eventstore.Feed
	keys eventstore.Keys

	// exchange is held for reading by whoever uses file, and for writing while a
	// rebuilt one takes its place. Who holds it does not take it again: between
	// the two, an exchange may begin to wait.
	exchange sync.RWMutex
	file     *modelFile

	applying    sync.Mutex              // Apply reads rows from memory that only it may change
	accounts    *cache[*events.Account] // the accounts are never changed
	credentials *cache[events.Credential]

	rebuilding sync.Mutex    // one rebuild at a time
	closing    chan struct{} // closed by Close, ends a rebuild
	closed     sync.Once
}

// OpenReadModel opens or makes the file at path. Rows are encrypted with the
// keys of their streams, so that losing a key loses the row's content too. A
// file of another schema, another keyring, or another history than the log's is
// made anew, its cursors included, and fills itself from the log; one that is
// damaged or no read model is left alone and an error.
func OpenReadModel(ctx context.Context, path string, log eventstore.Feed, keys eventstore.Keys) (*ReadModel, error) {
	m := newReadModel(path, log, keys)
	if err := m.open(ctx); err != nil {
		return nil, fmt.Errorf("read model: %w", advise(err))
	}
	return m, nil
}

func newReadModel(path string, log eventstore.Feed, keys eventstore.Keys) *ReadModel {
	return &ReadModel{
		path: path, log: log, keys: keys,
		accounts:    newCache[*events.Account](cachedAccounts),
		credentials: newCache[events.Credential](cachedCredentials),
		closing:     make(chan struct{}),
	}
}

func (m *ReadModel) open(ctx context.Context) error {
	// What a rebuild that was interrupted left. This process holds the only one
	// that may still run, and none does before the file is open.
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

// Close frees the file. A rebuild that runs ends first.
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

// Cursor returns the value last set under a name, nil when there is none. It is
// for followers that keep their work elsewhere and only need to find their place.
func (m *ReadModel) Cursor(ctx context.Context, name string) (value []byte, err error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	err = m.file.readers.QueryRowContext(ctx, "SELECT value FROM cursor WHERE name = ?", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, m.wrap("read a cursor in", err)
}

// SetCursor sets the value under a name, durably. Like all of the file it may be
// lost all the same: what it tells must be something that its owner can find out anew.
func (m *ReadModel) SetCursor(ctx context.Context, name string, value []byte) error {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	_, err := m.file.writer.ExecContext(ctx, setCursor, name, value)
	return m.wrap("set a cursor in", err)
}

// setCursor syncs its commit, unlike those of rows: a cursor does not follow from
// the log, and its owner counts on never going back to an earlier one. Should it
// fail half-way, commits are synced until the next one.
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
// not. What its slices point to belongs to the read model.
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
	if ok {
		m.credentials.add(id, c, generation)
	}
	return c, ok, nil
}

// Evict removes from the caches what was read of an account and of credentials
// whose keys were destroyed. The file's rows need no care: nobody can unseal them.
func (m *ReadModel) Evict(account ulid.ULID, credentials ...ulid.ULID) {
	m.accounts.evict(account)
	m.credentials.evict(credentials...)
}

// wrap says what failed on which file.
func (m *ReadModel) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s read model %s: %w", doing, m.path, advise(err))
}

// advise adds to the error of a damaged file what to do about it.
func advise(err error) error {
	if err = sqlitefile.Explain(err); errors.Is(err, sqlitefile.ErrMalformed) {
		return fmt.Errorf("%w; it is only a copy of the log: stop konto and delete the file, it will be rebuilt", err)
	}
	return err
}
