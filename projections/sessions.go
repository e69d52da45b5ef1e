package projections

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// closeSessions ends the sessions that act for an account or that it delegated, except
// one, because the account's password was changed. This happens in the transaction
// that folds the event PasswordChanged: no crash can come between the two, and a
// rebuilt read model ends the same sessions.
func (f *fold) closeSessions(ctx context.Context, account, kept ulid.ULID, at time.Time) error {
	open, err := f.openSessions(ctx, account)
	if err != nil {
		return err
	}
	for _, id := range open {
		c, err := f.credential(ctx, id)
		if err != nil {
			return err
		}
		if c.ID == kept || !isOpenSession(&c) {
			continue
		}
		c.Revoked = at
		f.credentials[id] = c
	}
	return nil
}

// openSessions returns the account's sessions that were open when the transaction
// began, and those that were opened since.
func (f *fold) openSessions(ctx context.Context, account ulid.ULID) ([]ulid.ULID, error) {
	rows, err := f.tx.QueryContext(ctx, "SELECT id FROM credential WHERE account = ? AND revoked = 0 UNION SELECT id FROM credential WHERE parent = ? AND revoked = 0", account[:], account[:])
	if err != nil {
		return nil, err
	}
	before, err := collect(rows, func(scan scanner) (id ulid.ULID, err error) { return id, scan(&id) })
	return append(before, f.sessions[account]...), err
}

// closing is the change of a password, which closes the account's sessions except one.
type closing struct {
	position uint64
	at       time.Time
	kept     ulid.ULID
}

// closedAt returns when a session was closed that was opened at a position: by the first change
// of a password after that, of the account that it acts for or of the one that delegated it. It
// returns the zero time if it was not closed. All accounts have been folded, because their streams
// come first.
func (f *fold) closedAt(opened events.SessionOpened, session ulid.ULID, position uint64) (at time.Time) {
	first := uint64(math.MaxUint64)
	for _, account := range []ulid.ULID{opened.Account, opened.Parent} {
		for _, c := range f.closings[account] {
			if c.position > position && c.position < first && c.kept != session {
				first, at = c.position, c.at
			}
		}
	}
	return at
}

// keepOnly drops the rows that were written, except that of a stream.
func (f *fold) keepOnly(stream events.Stream) {
	category, id, _ := stream.Split() // the stream was folded, so its name is right
	keepRow(f.accounts, id, category == events.CategoryAccount)
	keepRow(f.credentials, id, category == events.CategoryCredential)
	keepRow(f.thirdParties, id, category == events.CategoryThirdParty && !slices.Contains(f.removed, id))
	f.removed = nil
}

func keepRow[V any](rows map[ulid.ULID]V, id ulid.ULID, keep bool) {
	row, ok := rows[id]
	if clear(rows); ok && keep {
		rows[id] = row
	}
}

// isOpenSession reports whether a credential is a session that was not closed. The
// session may have expired: a fold does not look at the time.
func isOpenSession(c *events.Credential) bool {
	return c.Kind == events.KindSession && c.Revoked.IsZero()
}
