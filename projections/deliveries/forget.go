package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"
)

// ErrNotReached tells that a third party's reading was to be set ahead of where
// it is, which would lose what is in between. Nothing was changed.
var ErrNotReached = errors.New("third party has not come so far")

// Rewind makes a third party be told again of everything after a position, which
// lies at or before its own; for one that the ledger does not know it sets the
// position. What was settled after the position counts as never sent. A lane
// that waits for an event at or before the position goes on waiting.
//
// Error: ErrNotReached.
func (l *Ledger) Rewind(_ context.Context, party ulid.ULID, position uint64) error {
	var refused error
	err := l.change(func(t *transaction) error {
		var at sql.Null[uint64]
		if err := t.position.QueryRow(party[:]).Scan(&at); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if at.Valid && at.V < position {
			refused = fmt.Errorf("%w: it is at position %d, not %d", ErrNotReached, at.V, position)
			return nil // a refusal must not spoil what others share the transaction for
		}
		t.mention(position, ulid.Zero)
		if _, err := t.setPosition.Exec(party[:], position); err != nil {
			return err
		}
		// A lane that has settled something after the position has settled all up
		// to it, so nothing that it waits for is lost.
		_, err := t.rewind.Exec(party[:], position)
		return err
	})
	if err != nil {
		return err
	}
	return refused
}

// forgetPage is how many rows of a third party one transaction removes. Others
// that settle meanwhile wait some tens of milliseconds, and not for millions.
const forgetPage = 5000

// ForgetParty removes all that is known of a third party. If it fails or ctx
// ends, some is left, and the call can be repeated.
func (l *Ledger) ForgetParty(ctx context.Context, party ulid.ULID) error {
	for removed := int64(1); removed > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := l.change(func(t *transaction) (err error) {
			removed, err = affected(t.dropLanes.Exec(party[:], party[:], forgetPage))
			if err != nil || removed > 0 {
				return err
			}
			if removed, err = affected(t.dropAttempts.Exec(party[:], forgetPage)); err != nil || removed > 0 {
				return err
			}
			// The row goes last: by it the others are found.
			_, err = t.drop.Exec(party[:])
			delete(t.ledger.knows.unbounded, party)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ForgetAccount removes what is known of an account: all of its attempts, and
// the lanes that do not wait. Their bytes are overwritten in the file, and the
// write-ahead log, which holds older pages, is emptied. A lane that waits stays
// until the next call, since it may be the account's end that somebody is still
// to be told of; it holds numbers and times alone. After an error the call is to
// be repeated.
func (l *Ledger) ForgetAccount(ctx context.Context, account ulid.ULID) error {
	err := l.change(func(t *transaction) error {
		if _, err := t.forgetLanes.Exec(account[:]); err != nil {
			return err
		}
		_, err := t.forgetAttempts.Exec(account[:])
		return err
	})
	if err != nil {
		return err
	}
	return l.overwrite(ctx)
}

// overwrite empties the write-ahead log, which holds older pages, into the file.
func (l *Ledger) overwrite(ctx context.Context) error {
	var busy bool
	var pages, copied int
	err := l.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &copied)
	if err == nil && busy {
		err = errors.New("somebody reads it, its write-ahead log still holds what was removed")
	}
	return l.failed("empty the write-ahead log of", err)
}

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
