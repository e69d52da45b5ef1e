package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/eventstore/sqlitefile"
)

const (
	positionQuery       = `SELECT position FROM party WHERE id = ? AND position IS NOT NULL`
	storedPositionQuery = `SELECT position FROM party WHERE id = ?`
	setPositionQuery    = `INSERT INTO party (id, position) VALUES (?, ?)
		ON CONFLICT DO UPDATE SET position = excluded.position`
)

// Position implements Store.
func (s *File) Position(ctx context.Context, party ulid.ULID) (position uint64, ok bool, err error) {
	err = s.prepared[positionQuery].QueryRowContext(ctx, party[:]).Scan(&position)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return position, err == nil, s.failed("read", err)
}

// SetPosition implements Store.
func (s *File) SetPosition(_ context.Context, party ulid.ULID, position uint64) error {
	return s.change(func(t *transaction) error {
		t.stores(position, ulid.Zero)
		return t.exec(setPositionQuery, party[:], position)
	})
}

// Parties implements Store.
func (s *File) Parties(ctx context.Context) ([]ulid.ULID, error) {
	var parties []ulid.ULID
	err := s.each(ctx, func(rows *sql.Rows) error {
		var id ulid.ULID
		err := rows.Scan(&id)
		parties = append(parties, id)
		return err
	}, `SELECT id FROM party ORDER BY id`)
	return parties, err
}

const (
	saveQuery = `INSERT INTO lane (party, account, version, position, settled, attempts, since, next, behind, delivered, delivered_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)
		ON CONFLICT DO UPDATE SET version = excluded.version, position = excluded.position, settled = excluded.settled,
			attempts = excluded.attempts, since = excluded.since, next = excluded.next, behind = excluded.behind`
	deliveredQuery = `UPDATE lane SET delivered = ?3, delivered_at = ?4
		WHERE party = ?1 AND account = ?2 AND delivered <= ?3`
)

// Save implements Store.
func (s *File) Save(ctx context.Context, party ulid.ULID, d *Delivery, a *Attempt) error {
	var excerpt []byte
	if a != nil {
		var err error
		if excerpt, err = seal(context.WithoutCancel(ctx), s.cfg.Keys, a); err != nil {
			return s.failed("write to", err)
		}
	}
	return s.change(func(t *transaction) error {
		if err := t.addParty(party); err != nil {
			return err
		}
		if d != nil {
			if err := t.saveDelivery(party, d); err != nil {
				return err
			}
		}
		if a != nil {
			return t.addAttempt(a, excerpt)
		}
		return nil
	})
}

func (t *transaction) saveDelivery(party ulid.ULID, d *Delivery) error {
	t.stores(d.Position, ulid.Zero)
	return t.exec(saveQuery, party[:], d.Account[:], d.Version, d.Position, sqlitefile.Milliseconds(t.now),
		d.Attempts, sqlitefile.Milliseconds(d.Since), sqlitefile.Milliseconds(d.Next), d.Behind)
}

const (
	deliveryColumns = `account, version, position, attempts, since, next, behind, delivered, delivered_at`
	deliveryQuery   = `SELECT ` + deliveryColumns + ` FROM lane WHERE party = ? AND account = ?`
	// Without INDEXED BY, SQLite reads all rows of the third party.
	waitingQuery = `SELECT ` + deliveryColumns + ` FROM lane INDEXED BY lane_waiting
		WHERE party = ? AND (attempts > 0 OR behind = 1) ORDER BY next, account`
)

// Delivery implements Store.
func (s *File) Delivery(ctx context.Context, party, account ulid.ULID) (d Delivery, ok bool, err error) {
	d, err = scanDelivery(s.prepared[deliveryQuery].QueryRowContext(ctx, party[:], account[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return Delivery{}, false, nil
	}
	return d, err == nil, s.failed("read", err)
}

// Waiting implements Store.
func (s *File) Waiting(ctx context.Context, party ulid.ULID) ([]Delivery, error) {
	var waiting []Delivery
	err := s.each(ctx, func(rows *sql.Rows) error {
		d, err := scanDelivery(rows)
		waiting = append(waiting, d)
		return err
	}, waitingQuery, party[:])
	return waiting, err
}

// scanDelivery reads a row of deliveryColumns.
func scanDelivery(row interface{ Scan(...any) error }) (d Delivery, err error) {
	var since, next, deliveredAt int64
	err = row.Scan(&d.Account, &d.Version, &d.Position, &d.Attempts, &since, &next, &d.Behind, &d.Delivered, &deliveredAt)
	d.Since, d.Next, d.DeliveredAt = sqlitefile.Time(since), sqlitefile.Time(next), sqlitefile.Time(deliveredAt)
	return d, err
}

const resetQuery = `UPDATE lane SET attempts = 0, since = 0, next = 0, behind = 1
	WHERE party = ? AND (attempts > 0 OR behind = 1)`

// ResetSchedule implements Store.
func (s *File) ResetSchedule(_ context.Context, party ulid.ULID) error {
	return s.change(func(t *transaction) error { return t.exec(resetQuery, party[:]) })
}

const rewindQuery = `DELETE FROM lane WHERE party = ? AND position > ?`

// Rewind implements Store.
func (s *File) Rewind(_ context.Context, party ulid.ULID, position uint64) error {
	var refused error
	err := s.change(func(t *transaction) error {
		var at sql.Null[uint64]
		if err := t.statement(storedPositionQuery).QueryRow(party[:]).Scan(&at); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if at.Valid && at.V < position {
			refused = fmt.Errorf("%w: it is at position %d, not %d", ErrNotReached, at.V, position)
			return nil // an error here would fail the transaction, which others share
		}
		t.stores(position, ulid.Zero)
		if err := t.exec(setPositionQuery, party[:], position); err != nil {
			return err
		}
		// A row above the position says that all of the account up to there is done, so
		// what it waits for lies after the position and is read again.
		return t.exec(rewindQuery, party[:], position)
	})
	if err != nil {
		return err
	}
	return refused
}

const (
	// deleteLimit is how many rows of a third party one transaction deletes. Others wait
	// for some tens of milliseconds meanwhile, and not for millions of rows.
	deleteLimit = 5000

	deletePartyRowsQuery = `DELETE FROM lane WHERE party = ? AND account IN
		(SELECT account FROM lane WHERE party = ? LIMIT ?)`
	deletePartyAttemptsQuery = `DELETE FROM attempt WHERE id IN (SELECT id FROM attempt WHERE party = ? LIMIT ?)`
	deletePartyQuery         = `DELETE FROM party WHERE id = ?`
)

// DeleteParty implements Store.
func (s *File) DeleteParty(ctx context.Context, party ulid.ULID) error {
	for deleted := int64(1); deleted > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.change(func(t *transaction) (err error) {
			deleted, err = t.affected(deletePartyRowsQuery, party[:], party[:], deleteLimit)
			if err != nil || deleted > 0 {
				return err
			}
			if deleted, err = t.affected(deletePartyAttemptsQuery, party[:], deleteLimit); err != nil || deleted > 0 {
				return err
			}
			// The row by which the others are found is deleted last.
			delete(t.store.cached.sinceCut, party)
			return t.exec(deletePartyQuery, party[:])
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	deleteAccountRowsQuery = `DELETE FROM lane WHERE party IN (SELECT id FROM party) AND account = ?
		AND attempts = 0 AND behind = 0`
	deleteAccountAttemptsQuery = `DELETE FROM attempt WHERE account = ?`
)

// DeleteAccount implements Store. The bytes are overwritten in the file, and the write-ahead log is
// emptied.
func (s *File) DeleteAccount(ctx context.Context, account ulid.ULID) error {
	err := s.change(func(t *transaction) error {
		if err := t.exec(deleteAccountRowsQuery, account[:]); err != nil {
			return err
		}
		return t.exec(deleteAccountAttemptsQuery, account[:])
	})
	if err != nil {
		return err
	}
	return s.flushDeleted(ctx)
}

// LastDelivered implements Store.
func (s *File) LastDelivered(ctx context.Context, party ulid.ULID) (time.Time, error) {
	var at int64
	err := s.readers.QueryRowContext(ctx, `SELECT at FROM attempt WHERE party = ? AND outcome = ?
		ORDER BY id DESC LIMIT 1`, party[:], OutcomeDelivered).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return sqlitefile.Time(at), s.failed("read", err)
}
