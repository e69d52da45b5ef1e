package erasure

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
	"konto/projections/webhook"
)

// RowsName is the file of Rows in the data folder.
const RowsName = "erasures.db"

// Row is what is left to do about an account that is or will be erased, and what is needed for
// that after its key is destroyed.
type Row struct {
	At       time.Time `json:"at"`
	Proven   bool      `json:"proven,omitzero"`   // the erasure is done; left are messages or third parties
	Names    []string  `json:"names,omitzero"`    // what messages call it, until those are deleted
	PaywayID string    `json:"paywayId,omitzero"` // until every third party that needs it was sent the erasure
}

// RowStore holds a Row for each account with anything left to do, sealed with a key that is derived
// from the keyring, because the account's own will be gone. A change is durable when its method
// returns nil, and the bytes of what was there before are in no file of the store. All methods may
// be called by many goroutines at once. A single machine has Rows, a cluster has Shared.
type RowStore interface {
	Get(ctx context.Context, account ulid.ULID) (Row, error) // the zero Row if there is none
	All(ctx context.Context) (map[ulid.ULID]Row, error)
	Put(ctx context.Context, account ulid.ULID, row Row) error
	Delete(ctx context.Context, account ulid.ULID) error
	webhook.Notices
	Close() error
}

// Rows is erasures.db, the RowStore of a single machine.
type Rows struct {
	path string
	db   *sql.DB
	sealer
}

// sealer seals rows.
type sealer struct{ aead cipher.AEAD }

func newSealer(keys eventstore.Keys) (sealer, error) {
	block, err := aes.NewCipher(keys.Derive("erasure notices")) // as earlier builds did, see adopt
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

func (s sealer) seal(account ulid.ULID, row Row) ([]byte, error) {
	clear, err := json.Marshal(row)
	return s.aead.Seal(nil, nil, clear, account[:]), err
}

// unseal returns sqlitefile.ErrMalformed for what seal did not make for this account. A flipped bit
// must not erase another account.
func (s sealer) unseal(account ulid.ULID, sealed []byte) (row Row, err error) {
	clear, err := s.aead.Open(nil, nil, sealed, account[:])
	if err != nil || json.Unmarshal(clear, &row) != nil { // whose message may quote the row
		return Row{}, sqlitefile.ErrMalformed
	}
	return row, nil
}

// OpenRows opens or makes the file. sqlitefile.ErrMalformed: it is damaged, or of another keyring.
// All of it is read, because a flipped bit must not erase another account.
func OpenRows(ctx context.Context, path string, keys eventstore.Keys) (_ *Rows, err error) {
	r := &Rows{path: path}
	if r.sealer, err = newSealer(keys); err != nil {
		return nil, err
	}
	if r.db, err = sqlitefile.OpenWriter(path); err != nil {
		return nil, err
	}
	err = r.change(ctx, `CREATE TABLE IF NOT EXISTS erasure (
		account BLOB PRIMARY KEY,
		content BLOB NOT NULL -- Row as JSON, sealed
	) STRICT, WITHOUT ROWID`) // and overwrites what was deleted when konto was killed
	if err == nil {
		_, err = r.All(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close closes the file.
func (r *Rows) Close() error { return r.db.Close() }

// Get returns an account's row, the zero Row if there is none.
func (r *Rows) Get(ctx context.Context, account ulid.ULID) (Row, error) {
	all, err := r.All(ctx) // they are few
	return all[account], err
}

// All returns all rows by account.
func (r *Rows) All(ctx context.Context) (map[ulid.ULID]Row, error) {
	found, err := r.db.QueryContext(ctx, "SELECT account, content FROM erasure")
	if err != nil {
		return nil, r.wrap(err)
	}
	defer found.Close()
	all := map[ulid.ULID]Row{}
	for found.Next() {
		var account ulid.ULID
		var sealed []byte
		if err := found.Scan(&account, &sealed); err != nil {
			return nil, r.wrap(err)
		}
		if all[account], err = r.unseal(account, sealed); err != nil {
			return nil, r.wrap(err)
		}
	}
	return all, r.wrap(found.Err())
}

// Put stores an account's row.
func (r *Rows) Put(ctx context.Context, account ulid.ULID, row Row) error {
	sealed, err := r.seal(account, row)
	if err != nil {
		return r.wrap(err)
	}
	return r.change(ctx, "INSERT OR REPLACE INTO erasure (account, content) VALUES (?, ?)", account[:], sealed)
}

// Adopt stores what an earlier build had sealed in deliveries.db of an account that it erased. What
// cannot be unsealed, nobody can ever use.
func (r *Rows) Adopt(ctx context.Context, account ulid.ULID, at time.Time, names, paywayID []byte) error {
	row := Row{At: at, Proven: true} // unless the ledger has no proof
	if clear, err := r.aead.Open(nil, nil, paywayID, []byte("erasure notices|"+account.String())); err == nil {
		row.PaywayID = string(clear)
	}
	if clear, err := r.aead.Open(nil, nil, names, []byte("names|"+account.String())); err == nil {
		_ = json.Unmarshal(clear, &row.Names)
	}
	return r.Put(ctx, account, row)
}

// Delete deletes an account's row, if there is one.
func (r *Rows) Delete(ctx context.Context, account ulid.ULID) error {
	return r.change(ctx, "DELETE FROM erasure WHERE account = ?", account[:])
}

func (r *Rows) change(ctx context.Context, query string, parameters ...any) error {
	if _, err := r.db.ExecContext(ctx, query, parameters...); err != nil {
		return r.wrap(err)
	}
	// Until the write-ahead log is emptied it holds older pages, and on them what was deleted.
	var busy bool
	err := r.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, new(int), new(int))
	if err == nil && busy {
		err = errors.New("it is being read, and its write-ahead log still holds what was deleted")
	}
	return r.wrap(err)
}

// Notice implements webhook.Notices.
func (r *Rows) Notice(ctx context.Context, account ulid.ULID) (paywayID string, ok bool, err error) {
	row, err := r.Get(ctx, account)
	return row.PaywayID, row.PaywayID != "", err
}

func (r *Rows) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", r.path, sqlitefile.Explain(err))
}
