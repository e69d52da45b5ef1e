package projections

import (
	"context"
	"database/sql"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore/sqlitefile"
)

// StoredRow is a row of read.db in a form that can be compared with what a fold
// of the log gives.
type StoredRow struct {
	ID ulid.ULID
	// Text is all that the row says, its columns in clear included. It is
	// personal, and never to be shown.
	Text string
	// Err tells why the row cannot be read; Text is empty then.
	Err error
}

// The columns of rows beside their states, as they are stored.
type (
	storedAccount struct {
		Erased            bool
		Version, Position uint64
		Opened, Updated   int64
		State             events.Account
	}
	storedCredential struct {
		Version         uint64
		Issued          int64
		Revoked         bool
		At              int64 // when, if anybody still knows
		Consumer        string
		Account, Parent []byte
		State           events.Credential
	}
	storedThirdParty struct {
		Version uint64
		State   events.ThirdParty
	}
)

// storedQueries read a page of each table, in order of id.
var storedQueries = map[string]string{
	events.CategoryAccount:    "SELECT " + accountColumns + " FROM account",
	events.CategoryCredential: "SELECT " + credentialColumns + ", coalesce(consumer, ''), account, parent FROM credential",
	events.CategoryThirdParty: "SELECT id, version, content FROM third_party",
}

// StoredRows returns up to limit rows of a category of streams with ids above
// after, in order of id, and the position that all of them are at.
func (m *ReadModel) StoredRows(ctx context.Context, category string, after ulid.ULID, limit int) (position uint64, rows []StoredRow, err error) {
	return m.stored(ctx, category, " WHERE id > ? ORDER BY id LIMIT ?", after[:], limit)
}

// StoredRow returns the row of one stream, if there is one, and the position that it is at.
func (m *ReadModel) StoredRow(ctx context.Context, category string, id ulid.ULID) (position uint64, row StoredRow, ok bool, err error) {
	position, rows, err := m.stored(ctx, category, " WHERE id = ?", id[:])
	if len(rows) == 0 {
		return position, row, false, err
	}
	return position, rows[0], true, err
}

func (m *ReadModel) stored(ctx context.Context, category, which string, args ...any) (position uint64, all []StoredRow, err error) {
	// One transaction: rows and position are of one moment.
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	tx, err := m.file.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, nil, m.wrap("check", err)
	}
	defer tx.Rollback()
	if err := tx.QueryRowContext(ctx, "SELECT position FROM progress").Scan(&position); err != nil {
		return 0, nil, m.wrap("check", err)
	}
	rows, err := tx.QueryContext(ctx, storedQueries[category]+which, args...)
	if err != nil {
		return 0, nil, m.wrap("check", err)
	}
	all, err = collect(rows, func(scan scanner) (StoredRow, error) { return m.storedRow(ctx, category, scan) })
	return position, all, m.wrap("check", err)
}

// storedRow reads a row with the code that serves it, and the columns in clear
// beside it.
func (m *ReadModel) storedRow(ctx context.Context, category string, scan scanner) (StoredRow, error) {
	var id ulid.ULID
	var unscanned error
	noting := func(note func(dest []any), more ...any) scanner {
		return func(dest ...any) error {
			if unscanned = scan(append(dest, more...)...); unscanned == nil {
				id = *dest[0].(*ulid.ULID)
				note(dest)
			}
			return unscanned
		}
	}
	var row any
	var err error
	switch category {
	case events.CategoryAccount:
		var a storedAccount
		a.State, err = m.scanAccount(ctx, noting(func(dest []any) {
			a.Erased, a.Version, a.Position = *dest[1].(*bool), *dest[2].(*uint64), *dest[3].(*uint64)
			a.Opened, a.Updated = *dest[4].(*int64), *dest[5].(*int64)
		}))
		row = a
	case events.CategoryCredential:
		var c storedCredential
		c.State, err = m.scanCredential(ctx, noting(func(dest []any) {
			c.Version, c.Issued, c.At = *dest[1].(*uint64), *dest[2].(*int64), *dest[3].(*int64)
		}, &c.Consumer, &c.Account, &c.Parent))
		row = c.known()
	default:
		var p storedThirdParty
		p.State, err = m.scanThirdParty(ctx, noting(func(dest []any) { p.Version = *dest[1].(*uint64) }))
		row = p.known()
	}
	if unscanned != nil {
		return StoredRow{}, unscanned
	}
	if err != nil {
		return StoredRow{ID: id, Err: err}, nil
	}
	return StoredRow{ID: id, Text: text(row)}, nil
}

// known is what can be told of a credential whenever it is folded. When one was
// revoked whose key is destroyed may not be: that a new password closed it was said
// by an event that nobody can read any more.
func (c storedCredential) known() storedCredential {
	if c.Revoked = c.At != 0; c.State.Kind == "" {
		c.At, c.State.Revoked = 0, c.State.Issued
	}
	return c
}

// AccountRow is the row that an account is to have.
func AccountRow(a events.Account) StoredRow {
	return StoredRow{ID: a.ID, Text: text(storedAccount{
		a.Erased && !a.Shredded, a.Version, a.Position, sqlitefile.Milliseconds(a.Opened), sqlitefile.Milliseconds(a.Updated), a,
	})}
}

// CredentialRow is the row that a credential is to have.
func CredentialRow(c events.Credential) StoredRow {
	row := storedCredential{Version: c.Version, Issued: sqlitefile.Milliseconds(c.Issued), At: sqlitefile.Milliseconds(c.Revoked), State: c}
	if c.Kind == events.KindConsumer && c.Revoked.IsZero() {
		row.Consumer = c.Name
	}
	row.Account, _ = sessionOf(&c, c.Account).([]byte)
	row.Parent, _ = sessionOf(&c, c.Parent).([]byte)
	return StoredRow{ID: c.ID, Text: text(row.known())}
}

// ThirdPartyRow is the row that a third party is to have, if it was not removed.
func ThirdPartyRow(p events.ThirdParty) StoredRow {
	return StoredRow{ID: p.ID, Text: text(storedThirdParty{p.Version, p}.known())}
}

// known leaves out what the row of one whose key is destroyed does not hold.
func (p storedThirdParty) known() storedThirdParty {
	if !p.State.Exists() {
		p.State.Position = 0
	}
	return p
}

func text(row any) string {
	data, err := json.Marshal(row)
	if err != nil {
		panic(err) // of structs that are marshaled to be stored, too
	}
	return string(data)
}
