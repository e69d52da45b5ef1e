package projections

import (
	"context"
	"database/sql"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// StoredRow is a row of read.db in a form that can be compared with what a fold
// of the log gives.
type StoredRow struct {
	ID ulid.ULID
	// Text is all that the row says, with its columns in clear. It is personal data
	// and must never be shown.
	Text string
	// Err tells why the row cannot be read; Text is empty then.
	Err error
}

// storedQueries read the table of each category of streams.
var storedQueries = map[string]string{
	events.CategoryAccount:    "SELECT " + accountColumns + " FROM account",
	events.CategoryCredential: "SELECT " + credentialColumns + " FROM credential",
	events.CategoryThirdParty: "SELECT " + thirdPartyColumns + " FROM third_party",
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
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	// In one transaction rows and position are of the same moment.
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

// storedRow reads a row of storedQueries with the code that also serves it. A row
// that cannot be read is no error unless its id cannot be read either.
func (m *ReadModel) storedRow(ctx context.Context, category string, scan scanner) (row StoredRow, err error) {
	switch category {
	case events.CategoryAccount:
		var r accountRow
		if r, err = m.scanAccount(ctx, scan); err == nil {
			return r.stored(), nil
		}
		row.ID = r.id
	case events.CategoryCredential:
		var r credentialRow
		if r, err = m.scanCredential(ctx, scan); err == nil {
			return r.stored(), nil
		}
		row.ID = r.id
	default:
		var r thirdPartyRow
		if r, err = m.scanThirdParty(ctx, scan); err == nil {
			return r.stored(), nil
		}
		row.ID = r.id
	}
	if row.ID.IsZero() {
		return row, err
	}
	row.Err = err
	return row, nil
}

// AccountRow is the row that an account is to have.
func AccountRow(a events.Account) StoredRow {
	r := newAccountRow(a)
	return r.stored()
}

// CredentialRow is the row that a credential is to have.
func CredentialRow(c events.Credential) StoredRow {
	r := newCredentialRow(c)
	return r.stored()
}

// ThirdPartyRow is the row that a third party is to have, unless it was removed.
func ThirdPartyRow(p events.ThirdParty) StoredRow {
	r := thirdPartyRow{id: p.ID, Version: p.Version, State: p}
	return r.stored()
}

func (r *accountRow) stored() StoredRow { return StoredRow{ID: r.id, Text: text(r)} }

// stored leaves out when a credential was revoked whose key is destroyed. That a
// new password closed it was said by an event that nobody can read any more. So
// the time depends on when the credential was folded. Whose it was is left out too: a row
// that was written before the key was destroyed says it, and one written since does not.
func (r *credentialRow) stored() StoredRow {
	known := *r
	if r.State.Kind == "" {
		known.Revoked, known.State.Revoked = min(r.Revoked, 1), r.State.Issued
		known.Account, known.Parent = nil, nil
	}
	return StoredRow{ID: r.id, Text: text(&known)}
}

// stored leaves out the position of a third party that is gone: its row does not
// hold it.
func (r *thirdPartyRow) stored() StoredRow {
	known := *r
	if !known.State.Exists() {
		known.State.Position = 0
	}
	return StoredRow{ID: r.id, Text: text(&known)}
}

func text(row any) string {
	data, err := json.Marshal(row)
	if err != nil {
		panic(err) // it consists of structs that are marshaled to be stored, too
	}
	return string(data)
}
