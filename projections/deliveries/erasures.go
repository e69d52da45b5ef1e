package deliveries

import (
	"context"
	"database/sql"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/eventstore/sqlitefile"
)

const (
	deleteNoticesQuery = `DELETE FROM notice`
	deleteCalledQuery  = `DELETE FROM called`
)

// MoveErasures calls move with what earlier builds of konto kept in this file of erased accounts,
// sealed: when each was erased, what messages call it, and its Payway id; the last two may be nil.
// Then it deletes that and overwrites the bytes. After an error it must be called again.
func (s *File) MoveErasures(ctx context.Context, move func(ctx context.Context, account ulid.ULID, at time.Time, names, paywayID []byte) error) error {
	found := false
	err := s.each(ctx, func(rows *sql.Rows) error {
		var account ulid.ULID
		var at int64
		var names, paywayID []byte
		if err := rows.Scan(&account, &at, &names, &paywayID); err != nil {
			return err
		}
		found = true
		return move(ctx, account, sqlitefile.Time(at), names, paywayID)
	}, `SELECT account, coalesce(at, 0), called.content, notice.content FROM notice FULL JOIN called USING (account)`)
	if err != nil || !found {
		return err
	}
	err = s.change(func(t *transaction) error {
		if err := t.exec(deleteNoticesQuery); err != nil {
			return err
		}
		return t.exec(deleteCalledQuery)
	})
	if err != nil {
		return err
	}
	return s.flushDeleted(ctx)
}
