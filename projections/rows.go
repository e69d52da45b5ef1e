package projections

import (
	"context"
	"database/sql"
	"errors"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

const (
	accountQuery    = "SELECT " + accountColumns + " FROM account WHERE id = ?"
	credentialQuery = "SELECT " + credentialColumns + " FROM credential WHERE id = ?"
)

// Accounts returns up to limit accounts with ids above after, in order of id,
// erased ones included.
func (m *ReadModel) Accounts(ctx context.Context, after ulid.ULID, limit int) ([]events.Account, error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	rows, err := m.file.readers.QueryContext(ctx,
		"SELECT "+accountColumns+" FROM account WHERE id > ? ORDER BY id LIMIT ?", after[:], limit)
	if err != nil {
		return nil, m.wrap("list accounts in", err)
	}
	page, err := collect(rows, func(scan scanner) (events.Account, error) {
		r, err := m.scanAccount(ctx, scan)
		return r.State, err
	})
	return page, m.wrap("list accounts in", err)
}

// Erased returns the ids of all accounts whose erasure was folded, or whose key was
// destroyed when their events were folded, in order.
func (m *ReadModel) Erased(ctx context.Context) ([]ulid.ULID, error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	rows, err := m.file.readers.QueryContext(ctx, "SELECT id FROM account WHERE content = x'' ORDER BY id")
	if err != nil {
		return nil, m.wrap("list erased accounts in", err)
	}
	ids, err := collect(rows, func(scan scanner) (id ulid.ULID, err error) { return id, scan(&id) })
	return ids, m.wrap("list erased accounts in", err)
}

// Credentials returns up to limit credentials with ids above after, in order of
// id, revoked ones included.
func (m *ReadModel) Credentials(ctx context.Context, after ulid.ULID, limit int) ([]events.Credential, error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	rows, err := m.file.readers.QueryContext(ctx,
		"SELECT "+credentialColumns+" FROM credential WHERE id > ? ORDER BY id LIMIT ?", after[:], limit)
	if err != nil {
		return nil, m.wrap("list credentials in", err)
	}
	page, err := collect(rows, func(scan scanner) (events.Credential, error) {
		r, err := m.scanCredential(ctx, scan)
		return r.State, err
	})
	return page, m.wrap("list credentials in", err)
}

// CredentialsOf returns the ids of all credentials, revoked ones included, that act for an
// account or that it delegated.
func (m *ReadModel) CredentialsOf(ctx context.Context, account ulid.ULID) ([]ulid.ULID, error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	rows, err := m.file.readers.QueryContext(ctx,
		"SELECT id FROM credential WHERE account = ? UNION SELECT id FROM credential WHERE parent = ?", account[:], account[:])
	if err != nil {
		return nil, m.wrap("list an account's credentials in", err)
	}
	ids, err := collect(rows, func(scan scanner) (id ulid.ULID, err error) { return id, scan(&id) })
	return ids, m.wrap("list an account's credentials in", err)
}

// Unreadable returns the ids of all credentials whose keys were destroyed when their events were
// folded. eventstore.ErrSealBroken: such a key exists again, or that of an account, because older
// keys were restored; the read model must be rebuilt.
func (m *ReadModel) Unreadable(ctx context.Context) (credentials []ulid.ULID, err error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	accounts, err := m.file.readers.QueryContext(ctx, "SELECT "+accountColumns+" FROM account WHERE content = x'' AND erased = 0")
	if err != nil {
		return nil, m.wrap("list unreadable rows in", err)
	}
	if _, err := collect(accounts, func(scan scanner) (accountRow, error) { return m.scanAccount(ctx, scan) }); err != nil {
		return nil, m.wrap("list unreadable rows in", err)
	}
	rows, err := m.file.readers.QueryContext(ctx, "SELECT "+credentialColumns+" FROM credential WHERE content = x''")
	if err != nil {
		return nil, m.wrap("list unreadable rows in", err)
	}
	credentials, err = collect(rows, func(scan scanner) (ulid.ULID, error) {
		r, err := m.scanCredential(ctx, scan)
		return r.id, err
	})
	return credentials, m.wrap("list unreadable rows in", err)
}

// ConsumerNames returns the names of all consumers with a key that was not revoked, in order.
func (m *ReadModel) ConsumerNames(ctx context.Context) ([]string, error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	rows, err := m.file.readers.QueryContext(ctx,
		"SELECT DISTINCT consumer FROM credential WHERE consumer IS NOT NULL ORDER BY consumer")
	if err != nil {
		return nil, m.wrap("list consumers in", err)
	}
	names, err := collect(rows, func(scan scanner) (name string, err error) { return name, scan(&name) })
	return names, m.wrap("list consumers in", err)
}

// readAccount reads the row of accountQuery, if there is one.
func (m *ReadModel) readAccount(ctx context.Context, row *sql.Row) (events.Account, bool, error) {
	r, err := m.scanAccount(ctx, row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return r.State, false, nil
	}
	return r.State, err == nil, err
}

// readCredential reads the row of credentialQuery, if there is one.
func (m *ReadModel) readCredential(ctx context.Context, row *sql.Row) (events.Credential, bool, error) {
	r, err := m.scanCredential(ctx, row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return r.State, false, nil
	}
	return r.State, err == nil, err
}
