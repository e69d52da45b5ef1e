package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// The rows of read.db. A row has columns in clear and a content, which is the
// state as JSON, sealed with the key of its stream.
//
// A row whose key is destroyed is read from its columns: as an erased account, a
// credential that cannot be used, or a third party that is gone, each at the
// version in its columns. A key may be destroyed before the follower has reached
// the event that ends the stream, and an older log that lacks this event may be restored.
// In both cases the fold goes on from what the columns say, and ends with the same row as
// a fold of the whole log, which finds the same events unreadable.

const (
	accountColumns    = "id, erased, version, position, opened, updated, content"
	credentialColumns = "id, version, issued, revoked, consumer, account, parent, content"
	thirdPartyColumns = "id, version, content"
)

// The tables' names, which are part of what a row is bound to.
const (
	accountTable    = "account"
	credentialTable = "credential"
	thirdPartyTable = "third_party"
)

// accountRow is a row of the table account, with the state that its content holds.
type accountRow struct {
	id                ulid.ULID
	content           []byte
	Erased            bool
	Version, Position uint64
	Opened, Updated   int64 // in milliseconds, like all times of rows
	State             events.Account
}

// credentialRow is a row of the table credential.
type credentialRow struct {
	id              ulid.ULID
	content         []byte
	Version         uint64
	Issued, Revoked int64
	Consumer        *string // the name of a consumer whose key was not revoked
	Account, Parent []byte  // the accounts by which an erasure finds it
	State           events.Credential
}

// thirdPartyRow is a row of the table third_party.
type thirdPartyRow struct {
	id      ulid.ULID
	content []byte
	Version uint64
	State   events.ThirdParty
}

// newAccountRow returns the row for an account, without its content.
func newAccountRow(a events.Account) accountRow {
	return accountRow{
		id: a.ID, Erased: a.Erased && !a.Shredded, Version: a.Version, Position: a.Position,
		Opened: sqlitefile.Milliseconds(a.Opened), Updated: sqlitefile.Milliseconds(a.Updated), State: a,
	}
}

// newCredentialRow returns the row for a credential, without its content.
func newCredentialRow(c events.Credential) credentialRow {
	row := credentialRow{
		id: c.ID, Version: c.Version, Issued: sqlitefile.Milliseconds(c.Issued), Revoked: sqlitefile.Milliseconds(c.Revoked), State: c,
		Account: idOrNull(c.Account), Parent: idOrNull(c.Parent),
	}
	// What NATS holds for a consumer stays when its key has expired, because a fold does not look at
	// the time.
	if c.Kind == events.KindConsumer && c.Revoked.IsZero() {
		row.Consumer = &c.Name
	}
	return row
}

// idOrNull is the value of a column that holds an id, if there is one.
func idOrNull(id ulid.ULID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
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

// scanAccount reads a row of accountColumns. After an error the id is set if it
// could be read.
func (m *ReadModel) scanAccount(ctx context.Context, scan scanner) (r accountRow, err error) {
	if err := scan(&r.id, &r.Erased, &r.Version, &r.Position, &r.Opened, &r.Updated, &r.content); err != nil {
		return r, err
	}
	if !r.Erased {
		err := m.unseal(ctx, events.AccountStream(r.id), accountTable, r.content, &r.State)
		if !errors.Is(err, eventstore.ErrDestroyed) {
			return r, err
		}
	}
	left := events.Account{
		ID: r.id, Opened: sqlitefile.Time(r.Opened), Updated: sqlitefile.Time(r.Updated), Version: r.Version, Position: r.Position,
	}
	r.State = left.Remains()
	r.State.Shredded = !r.Erased
	return r, nil
}

// scanCredential reads a row of credentialColumns, as scanAccount does.
func (m *ReadModel) scanCredential(ctx context.Context, scan scanner) (r credentialRow, err error) {
	if err := scan(&r.id, &r.Version, &r.Issued, &r.Revoked, &r.Consumer, &r.Account, &r.Parent, &r.content); err != nil {
		return r, err
	}
	err = m.unseal(ctx, events.CredentialStream(r.id), credentialTable, r.content, &r.State)
	if errors.Is(err, eventstore.ErrDestroyed) {
		left := events.Credential{ID: r.id, Issued: sqlitefile.Time(r.Issued), Revoked: sqlitefile.Time(r.Revoked), Version: r.Version}
		r.State, err = left.Remains(), nil
	}
	return r, err
}

// scanThirdParty reads a row of thirdPartyColumns, as scanAccount does.
func (m *ReadModel) scanThirdParty(ctx context.Context, scan scanner) (r thirdPartyRow, err error) {
	if err := scan(&r.id, &r.Version, &r.content); err != nil {
		return r, err
	}
	if len(r.content) > 0 {
		err := m.unseal(ctx, events.ThirdPartyStream(r.id), thirdPartyTable, r.content, &r.State)
		if !errors.Is(err, eventstore.ErrDestroyed) {
			return r, err
		}
	}
	left := events.ThirdParty{ID: r.id, Version: r.Version}
	r.State = left.Remains()
	return r, nil
}

// sealAccount returns the content of an account's row, which is empty for an erased
// account. An account whose key was destroyed after its events were read becomes
// what is left of it.
func (m *ReadModel) sealAccount(ctx context.Context, id ulid.ULID, a *events.Account) ([]byte, error) {
	if a.Erased {
		return []byte{}, nil
	}
	content, err := m.seal(ctx, events.AccountStream(id), accountTable, a)
	if errors.Is(err, eventstore.ErrDestroyed) {
		*a = a.Remains()
		return []byte{}, nil
	}
	return content, err
}

// sealCredential does the same for a credential.
func (m *ReadModel) sealCredential(ctx context.Context, id ulid.ULID, c *events.Credential) ([]byte, error) {
	if c.Kind == "" {
		return []byte{}, nil
	}
	content, err := m.seal(ctx, events.CredentialStream(id), credentialTable, c)
	if errors.Is(err, eventstore.ErrDestroyed) {
		*c = c.Remains()
		return []byte{}, nil
	}
	return content, err
}

// sealThirdParty returns the content of a third party's row, which is empty for one
// that is gone.
func (m *ReadModel) sealThirdParty(ctx context.Context, id ulid.ULID, p *events.ThirdParty) ([]byte, error) {
	if !p.Exists() {
		return []byte{}, nil
	}
	content, err := m.seal(ctx, events.ThirdPartyStream(id), thirdPartyTable, p)
	if errors.Is(err, eventstore.ErrDestroyed) {
		return []byte{}, nil
	}
	return content, err
}

// seal encrypts a state with its stream's key.
func (m *ReadModel) seal(ctx context.Context, stream events.Stream, table string, state any) (clear []byte, err error) {
	aead, err := m.keys.Cipher(ctx, stream)
	if err != nil {
		return nil, err
	}
	if a, ok := state.(*events.Account); ok {
		clear, err = a.Encode()
	} else {
		clear, err = json.Marshal(state)
	}
	if err != nil {
		return nil, fmt.Errorf("encode row: %w", err)
	}
	return aead.Seal(clear[:0], nil, clear, binding(stream, table)), nil // the ciphertext replaces the clear text
}

func (m *ReadModel) unseal(ctx context.Context, stream events.Stream, table string, sealed []byte, state any) error {
	aead, err := m.keys.Cipher(ctx, stream)
	if err != nil {
		return err
	}
	clear, err := aead.Open(nil, nil, sealed, binding(stream, table))
	if err != nil {
		return fmt.Errorf("%s: %w", stream, eventstore.ErrSealBroken)
	}
	if json.Unmarshal(clear, state) != nil { // whose message may quote the row
		return fmt.Errorf("%w: the row of %s has another shape", ErrOutOfStep, stream)
	}
	return nil
}

// binding ties a sealed row to its place, so that rows cannot be exchanged for
// one another, nor for the events that the same key seals.
func binding(stream events.Stream, table string) []byte {
	return []byte("read model|" + table + "|" + string(stream))
}
