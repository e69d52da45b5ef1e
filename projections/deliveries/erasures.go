package deliveries

import (
	"context"
	"database/sql"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// OwesErasure reports whether the erasure of an account still has to be sent to a third party in
// one of Payway's formats, which name an account by its Payway id. end is where the account's
// stream ends, with AccountErased.
func (s *Store) OwesErasure(ctx context.Context, parties []events.ThirdParty, account ulid.ULID, end eventstore.StreamHead) (bool, error) {
	for i := range parties {
		p := &parties[i]
		if p.Format != events.FormatPayway && p.Format != events.FormatPaywaySSI || !p.Wants(events.TypeAccountErased) {
			continue
		}
		done, err := s.isDone(ctx, p, account, end)
		if err != nil || !done {
			return true, err
		}
	}
	return false, nil
}

// isDone reports whether a third party is done with an account's last event.
func (s *Store) isDone(ctx context.Context, p *events.ThirdParty, account ulid.ULID, last eventstore.StreamHead) (bool, error) {
	d, ok, err := s.Delivery(ctx, p.ID, account)
	if err != nil || ok && d.Version >= last.Version {
		return err == nil, err
	}
	if ok && d.waits() {
		return false, nil
	}
	position, known, err := s.Position(ctx, p.ID)
	if !known {
		position = p.Checkpoint
	}
	return err == nil && position >= last.Position, err
}

const (
	deleteNoticesQuery = `DELETE FROM notice`
	deleteCalledQuery  = `DELETE FROM called`
)

// MoveErasures calls move with what earlier builds of konto kept in this file of erased accounts,
// sealed: when each was erased, what messages call it, and its Payway id; the last two may be nil.
// Then it deletes that and overwrites the bytes. After an error it must be called again.
func (s *Store) MoveErasures(ctx context.Context, move func(account ulid.ULID, at time.Time, names, paywayID []byte) error) error {
	found := false
	err := s.each(ctx, func(rows *sql.Rows) error {
		var account ulid.ULID
		var at int64
		var names, paywayID []byte
		if err := rows.Scan(&account, &at, &names, &paywayID); err != nil {
			return err
		}
		found = true
		return move(account, sqlitefile.Time(at), names, paywayID)
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
