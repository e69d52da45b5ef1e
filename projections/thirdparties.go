package projections

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

const (
	thirdPartyQuery   = "SELECT " + thirdPartyColumns + " FROM third_party WHERE id = ?"
	thirdPartiesQuery = "SELECT " + thirdPartyColumns + " FROM third_party WHERE content <> x'' ORDER BY id"
)

// ThirdParties returns all third parties that were not removed, in order of id.
// They are few and no request reads them, so they are not cached.
func (m *ReadModel) ThirdParties(ctx context.Context) ([]events.ThirdParty, error) {
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	rows, err := m.file.readers.QueryContext(ctx, thirdPartiesQuery)
	if err != nil {
		return nil, m.wrap("list third parties in", err)
	}
	all, err := collect(rows, func(scan scanner) (events.ThirdParty, error) {
		r, err := m.scanThirdParty(ctx, scan)
		return r.State, err
	})
	all = slices.DeleteFunc(all, func(p events.ThirdParty) bool { return !p.Exists() })
	return all, m.wrap("list third parties in", err)
}

// ThirdParty returns the third party with a name or an id; ok is false if there is
// none, or if it was removed. An id may be in upper or lower case. No name has the
// form of an id. Names are sealed, so all third parties are read to find one.
func (m *ReadModel) ThirdParty(ctx context.Context, ref string) (p events.ThirdParty, ok bool, err error) {
	if id, err := ulid.ParseStrict(ref); err == nil {
		m.exchange.RLock()
		defer m.exchange.RUnlock()
		p, ok, err = m.readThirdParty(ctx, m.file.readers.QueryRowContext(ctx, thirdPartyQuery, id[:]))
		if !p.Exists() {
			return events.ThirdParty{}, false, m.wrap("read a third party in", err)
		}
		return p, ok, m.wrap("read a third party in", err)
	}
	all, err := m.ThirdParties(ctx)
	for _, p := range all {
		if p.Name == ref {
			return p, true, nil
		}
	}
	return events.ThirdParty{}, false, err
}

// readThirdParty reads the row of thirdPartyQuery, if there is one.
func (m *ReadModel) readThirdParty(ctx context.Context, row *sql.Row) (events.ThirdParty, bool, error) {
	r, err := m.scanThirdParty(ctx, row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return r.State, false, nil
	}
	return r.State, err == nil, err
}

func (f *fold) addToThirdParty(ctx context.Context, id ulid.ULID, e events.Event) (err error) {
	p, ok := f.thirdParties[id]
	if !ok {
		if p, _, err = f.model.readThirdParty(ctx, f.tx.QueryRowContext(ctx, thirdPartyQuery, id[:])); err != nil {
			return err
		}
	}
	payload, err := next(e, p.Version)
	if err != nil {
		return err
	}
	if p.Apply(e, payload); p.Version != e.Version {
		return misplaced(e)
	}
	f.thirdParties[id] = p
	if _, ended := payload.(events.ThirdPartyRemoved); ended {
		f.removed = append(f.removed, id)
	}
	return nil
}

// writeThirdParties stores the third parties that changed. The row of a removed one is
// deleted, because no event follows in its stream. The row of one whose key was
// destroyed keeps the version, because more events can follow.
func (f *fold) writeThirdParties(ctx context.Context) error {
	for id, p := range f.thirdParties {
		content, err := f.model.sealThirdParty(ctx, id, &p)
		if err != nil {
			return err
		}
		if _, err := f.tx.ExecContext(ctx, `INSERT INTO third_party (id, version, content) VALUES (?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET version = excluded.version, content = excluded.content`, id[:], p.Version, content); err != nil {
			return err
		}
	}
	for _, id := range f.removed {
		if _, err := f.tx.ExecContext(ctx, "DELETE FROM third_party WHERE id = ?", id[:]); err != nil {
			return err
		}
	}
	return nil
}
