package keyring

import (
	"context"
	"database/sql"
	"fmt"

	"konto/eventstore/sqlitefile"
)

// Check reads the whole file while it is in use: its pages, what it consists of,
// and that each key can be unwrapped. It changes nothing. Errors that tell what is
// wrong match sqlitefile.ErrMalformed, sqlitefile.ErrOtherSchema or ErrDamagedKey.
func (k *Keyring) Check(ctx context.Context) error {
	var stamp int32 // see sqlitefile.Tie
	if err := k.readers.QueryRowContext(ctx, "PRAGMA user_version").Scan(&stamp); err != nil {
		return k.failed(err)
	}
	if err := sqlitefile.CheckSchema(ctx, k.readers, fmt.Sprintf("%s; PRAGMA user_version = %d", schema, stamp)); err != nil {
		return k.failed(err)
	}
	for after := ""; ; {
		last, err := k.checkPage(ctx, after)
		if err != nil {
			return k.failed(err)
		}
		if last == after {
			break
		}
		after = last
	}
	return sqlitefile.CheckIntegrity(ctx, k.path)
}

// checkPage unwraps the keys whose names follow one, and returns the last name. A
// rotation commits between two pages or before the rows are read, never in between.
func (k *Keyring) checkPage(ctx context.Context, after string) (last string, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	tx, err := k.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	page, err := wrappedKeys(ctx, tx, after)
	if err != nil {
		return "", err
	}
	last = after
	for _, r := range page {
		if _, err := unwrap(k.wrapper, r.name, r.wrapped); err != nil {
			return "", err
		}
		last = r.name
	}
	return last, nil
}
