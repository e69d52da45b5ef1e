package projections

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// closeSessions ends the sessions that act for an account or that it delegated,
// all but one, because its password was changed. It is a consequence of that one event, drawn in the
// transaction that takes it in: no crash can come between the two, and a
// rebuilt read model draws it again.
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

// openSessions lists the account's sessions that were open when the batch
// began, and those that it has opened since.
func (f *fold) openSessions(ctx context.Context, account ulid.ULID) ([]ulid.ULID, error) {
	rows, err := f.tx.QueryContext(ctx, "SELECT id FROM credential WHERE account = ? UNION SELECT id FROM credential WHERE parent = ?", account[:], account[:])
	if err != nil {
		return nil, err
	}
	open, err := collect(rows, func(scan scanner) (id ulid.ULID, err error) { return id, scan(&id) })
	if err != nil {
		return nil, err
	}
	for id, c := range f.credentials {
		if c.Account == account || c.Parent == account {
			open = append(open, id)
		}
	}
	return open, nil
}

// isOpenSession tells whether a credential is a session that was not closed. It
// may have expired: that needs the time, which a fold does not look at.
func isOpenSession(c *events.Credential) bool {
	return c.Kind == events.KindSession && c.Revoked.IsZero()
}
