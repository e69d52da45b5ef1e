package projections

import (
	"context"
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
	open := f.sessions[account]
	if f.whole {
		return open, nil
	}
	rows, err := f.tx.QueryContext(ctx, "SELECT id FROM credential WHERE account = ? AND revoked = 0 UNION SELECT id FROM credential WHERE parent = ? AND revoked = 0", account[:], account[:])
	if err != nil {
		return nil, err
	}
	before, err := collect(rows, func(scan scanner) (id ulid.ULID, err error) { return id, scan(&id) })
	return append(before, open...), err
}

// isOpenSession reports whether a credential is a session that was not closed. The
// session may have expired: a fold does not look at the time.
func isOpenSession(c *events.Credential) bool {
	return c.Kind == events.KindSession && c.Revoked.IsZero()
}
