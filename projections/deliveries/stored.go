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

// Position returns how far a third party's reading of the log has come. Every event up
// to there is done, or its account's row waits. ok is false when the store does not know
// the position, because it never did or because its file was lost.
func (s *Store) Position(ctx context.Context, party ulid.ULID) (position uint64, ok bool, err error) {
	err = s.prepared[positionQuery].QueryRowContext(ctx, party[:]).Scan(&position)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return position, err == nil, s.failed("read", err)
}

// SetPosition stores how far the reading of the log has come. Every event up to there
// must be done, or its account's row must wait. Like Save, it does not end with ctx.
func (s *Store) SetPosition(_ context.Context, party ulid.ULID, position uint64) error {
	return s.change(func(t *transaction) error {
		t.stores(position, ulid.Zero)
		return t.exec(setPositionQuery, party[:], position)
	})
}

// Parties returns the ids of all third parties of which the store has any row.
func (s *Store) Parties(ctx context.Context) ([]ulid.ULID, error) {
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

// Save stores what an attempt changed, in one transaction: the account's delivery as it
// is from now on, and a row of the delivery log. Either may be nil: a redelivery changes
// no delivery, and a delivery that has nothing more to send had no attempt. Save does
// not end with ctx, because what was delivered must be stored even if its caller stops.
func (s *Store) Save(ctx context.Context, party ulid.ULID, d *Delivery, a *Attempt) error {
	var excerpt []byte
	if a != nil {
		var err error
		if excerpt, err = s.seal(context.WithoutCancel(ctx), a); err != nil {
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

// Delivery returns what is stored of an account and a third party. ok is false when
// nothing is, because the third party was sent nothing about the account.
func (s *Store) Delivery(ctx context.Context, party, account ulid.ULID) (d Delivery, ok bool, err error) {
	d, err = scanDelivery(s.prepared[deliveryQuery].QueryRowContext(ctx, party[:], account[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return Delivery{}, false, nil
	}
	return d, err == nil, s.failed("read", err)
}

// Waiting returns a third party's deliveries that have something to send, the first to
// be due at the beginning.
func (s *Store) Waiting(ctx context.Context, party ulid.ULID) ([]Delivery, error) {
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

// ResetSchedule makes all of a third party's deliveries that wait due now, as if their
// events had never been tried.
func (s *Store) ResetSchedule(_ context.Context, party ulid.ULID) error {
	return s.change(func(t *transaction) error { return t.exec(resetQuery, party[:]) })
}

// ErrNotReached means that Rewind was to set a third party's position ahead, which would
// lose the events in between. Nothing was changed.
var ErrNotReached = errors.New("third party has not come so far")

const rewindQuery = `DELETE FROM lane WHERE party = ? AND position > ?`

// Rewind sets a third party's position back, so that everything after it is sent again.
// What was done after the position counts as never sent. A delivery that waits with an
// event at or before the position goes on waiting. When the store knows no position, it
// is set to this one. Error: ErrNotReached.
func (s *Store) Rewind(_ context.Context, party ulid.ULID, position uint64) error {
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

// DeleteParty deletes all rows of a third party. After an error, or when ctx ends, some
// are left, and the call can be repeated.
func (s *Store) DeleteParty(ctx context.Context, party ulid.ULID) error {
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

// DeleteAccount deletes the attempts of an account, and its deliveries that do not wait.
// Their bytes are overwritten in the file, and the write-ahead log is emptied. A delivery
// that waits stays until the next call: the account's erasure may still have to be sent.
// It holds numbers and times alone. After an error the call has to be repeated.
func (s *Store) DeleteAccount(ctx context.Context, account ulid.ULID) error {
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

// LastDelivered is when a third party last accepted an event, as far as the delivery log
// goes back. It is zero when there was none.
func (s *Store) LastDelivered(ctx context.Context, party ulid.ULID) (time.Time, error) {
	var at int64
	err := s.readers.QueryRowContext(ctx, `SELECT at FROM attempt WHERE party = ? AND outcome = ?
		ORDER BY id DESC LIMIT 1`, party[:], OutcomeDelivered).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return sqlitefile.Time(at), s.failed("read", err)
}
