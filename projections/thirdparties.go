package projections

import (
	"context"
	"database/sql"
	"errors"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

const (
	thirdPartyQuery   = "SELECT id, content FROM third_party WHERE id = ?"
	thirdPartiesQuery = "SELECT id, content FROM third_party ORDER BY id"
)

const thirdPartyTable = "third_party"

// ThirdParties returns all third parties that were not removed, in order of id.
// There are few of them, and they are read by what runs beside the requests, so
// none is kept in memory.
func (m *ReadModel) ThirdParties(ctx context.Context) ([]events.ThirdParty, error) {
	rows, err := m.readers.QueryContext(ctx, thirdPartiesQuery)
	if err != nil {
		return nil, m.wrap("list third parties in", err)
	}
	all, err := collect(rows, func(scan scanner) (events.ThirdParty, error) { return m.scanThirdParty(ctx, scan) })
	return all, m.wrap("list third parties in", err)
}

// ThirdParty returns the third party that has a name or an id, in capitals or
// not; ok is false when there is none, or when it was removed. No name is in
// the form of an id, and names are sealed, so they are looked for one by one.
func (m *ReadModel) ThirdParty(ctx context.Context, ref string) (p events.ThirdParty, ok bool, err error) {
	if id, err := ulid.ParseStrict(ref); err == nil {
		p, ok, err = m.readThirdParty(ctx, m.readers.QueryRowContext(ctx, thirdPartyQuery, id[:]))
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
	p, err := m.scanThirdParty(ctx, row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return p, false, nil
	}
	return p, err == nil, err
}

func (m *ReadModel) scanThirdParty(ctx context.Context, scan scanner) (p events.ThirdParty, err error) {
	var id ulid.ULID
	var content []byte
	if err := scan(&id, &content); err != nil {
		return p, err
	}
	return p, m.unseal(ctx, events.ThirdPartyStream(id), thirdPartyTable, content, &p)
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
	return nil
}

// writeThirdParties stores those that changed. Of one that was removed nothing
// is kept: nothing follows in its stream.
func (f *fold) writeThirdParties(ctx context.Context) error {
	for id, p := range f.thirdParties {
		if !p.Exists() {
			if _, err := f.tx.ExecContext(ctx, "DELETE FROM third_party WHERE id = ?", id[:]); err != nil {
				return err
			}
			continue
		}
		content, err := f.model.seal(ctx, events.ThirdPartyStream(id), thirdPartyTable, p)
		if err != nil {
			return err
		}
		if _, err := f.tx.ExecContext(ctx, `INSERT INTO third_party (id, content) VALUES (?, ?)
			ON CONFLICT (id) DO UPDATE SET content = excluded.content`, id[:], content); err != nil {
			return err
		}
	}
	return nil
}
