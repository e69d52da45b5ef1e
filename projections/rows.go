package projections

import (
	"context"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

const (
	accountColumns    = "id, erased, version, position, opened, updated, content"
	credentialColumns = "id, version, issued, revoked, content"

	accountQuery    = "SELECT " + accountColumns + " FROM account WHERE id = ?"
	credentialQuery = "SELECT " + credentialColumns + " FROM credential WHERE id = ?"
)

// The tables' names, which are part of what a row is bound to.
const (
	accountTable    = "account"
	credentialTable = "credential"
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
	page, err := collect(rows, func(scan scanner) (events.Account, error) { return m.scanAccount(ctx, scan) })
	return page, m.wrap("list accounts in", err)
}

// Erased returns the ids of all accounts whose erasure was taken in, or whose events
// nobody could read when they were, in order.
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
	page, err := collect(rows, func(scan scanner) (events.Credential, error) { return m.scanCredential(ctx, scan) })
	return page, m.wrap("list credentials in", err)
}

// ConsumerNames returns the names of all consumers with a usable key, in order.
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

// scanner is the Scan method of a row.
type scanner func(columns ...any) error

func collect[V any](rows *sql.Rows, read func(scanner) (V, error)) ([]V, error) {
	defer rows.Close()
	var all []V
	for rows.Next() {
		one, err := read(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// readAccount reads the row of accountQuery, if there is one.
func (m *ReadModel) readAccount(ctx context.Context, row *sql.Row) (events.Account, bool, error) {
	a, err := m.scanAccount(ctx, row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return a, false, nil
	}
	return a, err == nil, err
}

// readCredential reads the row of credentialQuery, if there is one.
func (m *ReadModel) readCredential(ctx context.Context, row *sql.Row) (events.Credential, bool, error) {
	c, err := m.scanCredential(ctx, row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	return c, err == nil, err
}

// seal encrypts a row with its stream's key.
func (m *ReadModel) seal(ctx context.Context, stream events.Stream, table string, row any) ([]byte, error) {
	aead, err := m.keys.Cipher(ctx, stream)
	if err != nil {
		return nil, err
	}
	return sealWith(aead, stream, table, row)
}

// sealWith is seal with the cipher at hand.
func sealWith(aead cipher.AEAD, stream events.Stream, table string, row any) (clear []byte, err error) {
	if a, ok := row.(*events.Account); ok {
		clear, err = a.Encode()
	} else {
		clear, err = json.Marshal(row)
	}
	if err != nil {
		return nil, fmt.Errorf("encode row: %w", err)
	}
	return aead.Seal(clear[:0], nil, clear, binding(stream, table)), nil // in the room that it was encoded in
}

func (m *ReadModel) unseal(ctx context.Context, stream events.Stream, table string, sealed []byte, row any) error {
	aead, err := m.keys.Cipher(ctx, stream)
	if err != nil {
		return err
	}
	clear, err := aead.Open(nil, nil, sealed, binding(stream, table))
	if err != nil {
		return fmt.Errorf("%s: %w", stream, eventstore.ErrSealBroken)
	}
	if json.Unmarshal(clear, row) != nil { // whose message may quote the row
		return fmt.Errorf("%w: the row of %s has another shape", ErrOutOfStep, stream)
	}
	return nil
}

// binding ties a sealed row to its place, so that rows cannot be exchanged for
// one another, nor for the events that the same key seals.
func binding(stream events.Stream, table string) []byte {
	return []byte("read model|" + table + "|" + string(stream))
}
