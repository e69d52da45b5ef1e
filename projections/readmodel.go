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

// How many rows are kept in memory, of some 1.5 kB an account and 0.5 kB a credential.
const (
	recentAccounts    = 16384
	recentCredentials = 16384
)

// readers is how many requests may read the file at the same time.
const readers = 4

// ReadModel is read.db: the accounts (AccountMe), the credentials (access) and
// the third parties, with the position they are at. It is a Projection.
//
// The file is a copy of what the log holds and may be deleted while konto is
// stopped: the follower rebuilds it.
type ReadModel struct {
	path    string
	keys    eventstore.Keys
	writer  *sql.DB
	readers *sql.DB

	selectAccount    *sql.Stmt
	selectCredential *sql.Stmt

	applying    sync.Mutex // Apply reads rows from memory that only it may change
	accounts    *recent[events.Account]
	credentials *recent[events.Credential]
}

// OpenReadModel opens or makes the file at path. Rows are encrypted with the
// keys of their streams, so that losing a key loses the row's content too. A
// file of another schema, another keyring, or another history than the log's is
// made anew, its cursors included, and fills itself from the log; one that is
// damaged or no read model is left alone and an error.
func OpenReadModel(ctx context.Context, path string, log eventstore.Feed, keys eventstore.Keys) (*ReadModel, error) {
	m := &ReadModel{
		path: path, keys: keys,
		accounts:    newRecent[events.Account](recentAccounts),
		credentials: newRecent[events.Credential](recentCredentials),
	}
	if err := m.open(ctx, log); err != nil {
		m.Close()
		return nil, fmt.Errorf("read model: %w", advise(err))
	}
	return m, nil
}

func (m *ReadModel) open(ctx context.Context, log eventstore.Feed) (err error) {
	if m.writer, err = openWriter(ctx, m.path, log, m.keys.Derive("read model")); err != nil {
		return err
	}
	if m.readers, err = sqlitefile.OpenReaders(m.path, readers); err != nil {
		return err
	}
	if m.selectAccount, err = m.readers.PrepareContext(ctx, accountQuery); err != nil {
		return err
	}
	m.selectCredential, err = m.readers.PrepareContext(ctx, credentialQuery)
	return err
}

// Close frees the file.
func (m *ReadModel) Close() error {
	var errs []error
	// The writer goes last: the last connection folds the write-ahead log into
	// the file, and readers may not write.
	for _, db := range []*sql.DB{m.readers, m.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Position implements Projection.
func (m *ReadModel) Position(ctx context.Context) (position uint64, err error) {
	err = m.readers.QueryRowContext(ctx, "SELECT position FROM progress").Scan(&position)
	return position, m.wrap("read the position in", err)
}

// Cursor returns the value last set under a name, nil when there is none. It is
// for followers that keep their work elsewhere and only need to find their place.
func (m *ReadModel) Cursor(ctx context.Context, name string) (value []byte, err error) {
	err = m.readers.QueryRowContext(ctx, "SELECT value FROM cursor WHERE name = ?", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, m.wrap("read a cursor in", err)
}

// SetCursor sets the value under a name. Like all of the file it may be lost:
// what it tells must be something that its owner can find out anew.
func (m *ReadModel) SetCursor(ctx context.Context, name string, value []byte) error {
	_, err := m.writer.ExecContext(ctx,
		"INSERT INTO cursor (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	return m.wrap("set a cursor in", err)
}

// Account returns one account as of the read model's position.
func (m *ReadModel) Account(ctx context.Context, id ulid.ULID) (a events.Account, ok bool, err error) {
	a, ok, generation := m.accounts.get(id)
	if ok {
		return a, true, nil
	}
	a, ok, err = m.readAccount(ctx, m.selectAccount.QueryRowContext(ctx, id[:]))
	if err != nil {
		return a, false, m.wrap("read an account in", err)
	}
	if ok {
		m.accounts.loaded(id, a, generation)
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
	c, ok, err = m.readCredential(ctx, m.selectCredential.QueryRowContext(ctx, id[:]))
	if err != nil {
		return c, false, m.wrap("read a credential in", err)
	}
	if ok {
		m.credentials.loaded(id, c, generation)
	}
	return c, ok, nil
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
