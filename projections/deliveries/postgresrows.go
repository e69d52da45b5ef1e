package deliveries

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"konto/eventstore/postgres"
	"konto/eventstore/sqlitefile"
)

// Position implements Store.
func (p *Postgres) Position(ctx context.Context, party ulid.ULID) (position uint64, ok bool, err error) {
	err = p.read(ctx, func() { ok = false }, func(row pgx.Row) error {
		ok = true
		return row.Scan(&position)
	}, `SELECT position FROM cluster.party WHERE id = $1 AND position IS NOT NULL`, party[:])
	return position, ok, err
}

const pgSetPosition = `INSERT INTO cluster.party (id, position) VALUES ($1, $2)
	ON CONFLICT (id) DO UPDATE SET position = excluded.position`

// SetPosition implements Store.
func (p *Postgres) SetPosition(_ context.Context, party ulid.ULID, position uint64) error {
	return p.change(nil, func(b *pgx.Batch) { b.Queue(pgSetPosition, party[:], position) })
}

// Parties implements Store.
func (p *Postgres) Parties(ctx context.Context) (parties []ulid.ULID, err error) {
	err = p.read(ctx, func() { parties = nil }, func(row pgx.Row) error {
		var id ulid.ULID
		err := row.Scan(&id)
		parties = append(parties, id)
		return err
	}, `SELECT id FROM cluster.party ORDER BY id`)
	return parties, err
}

// Save implements Store.
func (p *Postgres) Save(ctx context.Context, party ulid.ULID, d *Delivery, a *Attempt) error {
	var excerpt []byte
	if a != nil {
		var err error
		if excerpt, err = seal(context.WithoutCancel(ctx), p.cfg.Keys, a); err != nil {
			return err
		}
	}
	return p.change(a, func(b *pgx.Batch) {
		b.Queue(`INSERT INTO cluster.party (id) VALUES ($1) ON CONFLICT DO NOTHING`, party[:])
		if d != nil {
			b.Queue(`INSERT INTO cluster.lane (party, account, version, position, attempts, since, next, behind, delivered, delivered_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0)
				ON CONFLICT (party, account) DO UPDATE SET version = excluded.version, position = excluded.position,
					attempts = excluded.attempts, since = excluded.since, next = excluded.next, behind = excluded.behind`,
				party[:], d.Account[:], d.Version, d.Position, d.Attempts,
				sqlitefile.Milliseconds(d.Since), sqlitefile.Milliseconds(d.Next), d.Behind)
		}
		if a != nil {
			queueAttempt(b, a, excerpt)
		}
	})
}

func queueAttempt(b *pgx.Batch, a *Attempt, excerpt []byte) {
	b.Queue(`INSERT INTO cluster.attempt (party, account, event, type, position, number, at, outcome, status, latency, excerpt)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, a.Party[:], a.Account[:], a.Event[:], a.Type, a.Position,
		a.Number, sqlitefile.Milliseconds(a.At), a.Outcome, a.Status, a.Latency.Microseconds(), excerpt)
	if a.accepted() {
		b.Queue(`UPDATE cluster.lane SET delivered = $3, delivered_at = $4 WHERE party = $1 AND account = $2 AND delivered <= $3`,
			a.Party[:], a.Account[:], a.Position, sqlitefile.Milliseconds(a.At.Add(a.Latency)))
	}
}

// Delivery implements Store.
func (p *Postgres) Delivery(ctx context.Context, party, account ulid.ULID) (d Delivery, ok bool, err error) {
	err = p.read(ctx, func() { d, ok = Delivery{}, false }, func(row pgx.Row) (err error) {
		d, err = scanDelivery(row)
		ok = true
		return err
	}, `SELECT `+deliveryColumns+` FROM cluster.lane WHERE party = $1 AND account = $2`, party[:], account[:])
	return d, ok, err
}

// Waiting implements Store.
func (p *Postgres) Waiting(ctx context.Context, party ulid.ULID) (waiting []Delivery, err error) {
	err = p.read(ctx, func() { waiting = nil }, func(row pgx.Row) error {
		d, err := scanDelivery(row)
		waiting = append(waiting, d)
		return err
	}, `SELECT `+deliveryColumns+` FROM cluster.lane WHERE party = $1 AND (attempts > 0 OR behind) ORDER BY next, account`, party[:])
	return waiting, err
}

// ResetSchedule implements Store.
func (p *Postgres) ResetSchedule(_ context.Context, party ulid.ULID) error {
	return p.change(nil, func(b *pgx.Batch) {
		b.Queue(`UPDATE cluster.lane SET attempts = 0, since = 0, next = 0, behind = true
			WHERE party = $1 AND (attempts > 0 OR behind)`, party[:])
	})
}

// Rewind implements Store. It takes the lease from whoever has it, because a run under way would set
// the position ahead again. That run ends when it next changes something or renews its lease, and
// nobody begins another one before its lease has run out.
func (p *Postgres) Rewind(ctx context.Context, party ulid.ULID, position uint64) error {
	return p.cfg.Database.Write(ctx, func(tx pgx.Tx) error {
		if err := postgres.RevokeLease(ctx, tx, leaseName(party)); err != nil {
			return err
		}
		var at uint64
		err := tx.QueryRow(ctx, `SELECT coalesce(max(position), $2) FROM cluster.party WHERE id = $1`, party[:], position).Scan(&at)
		if err != nil {
			return err
		}
		if at < position {
			return fmt.Errorf("%w: it is at position %d, not %d", ErrNotReached, at, position)
		}
		if _, err := tx.Exec(ctx, pgSetPosition, party[:], position); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM cluster.lane WHERE party = $1 AND position > $2`, party[:], position)
		return err
	})
}

// DeleteParty implements Store.
func (p *Postgres) DeleteParty(ctx context.Context, party ulid.ULID) error {
	for {
		left := false
		err := p.write(ctx, func(tx pgx.Tx) error {
			for _, query := range []string{
				`DELETE FROM cluster.lane WHERE party = $1 AND account IN (SELECT account FROM cluster.lane WHERE party = $1 LIMIT $2)`,
				`DELETE FROM cluster.attempt WHERE id IN (SELECT id FROM cluster.attempt WHERE party = $1 LIMIT $2)`,
			} {
				tag, err := tx.Exec(ctx, query, party[:], deleteLimit)
				if left = tag.RowsAffected() == deleteLimit; err != nil || left {
					return err
				}
			}
			// The row by which the others are found is deleted last.
			_, err := tx.Exec(ctx, `DELETE FROM cluster.party WHERE id = $1`, party[:])
			return err
		})
		if err != nil || !left {
			return err
		}
	}
}

// DeleteAccount implements Store. What the rows held can be read from the server's files until
// VACUUM, and after it until later rows take the space: ids, numbers and times, and excerpts that
// nobody can decrypt without the account's key.
func (p *Postgres) DeleteAccount(ctx context.Context, account ulid.ULID) error {
	err := p.cfg.Database.Write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM cluster.lane WHERE party IN (SELECT id FROM cluster.party) AND account = $1
			AND attempts = 0 AND NOT behind`, account[:])
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM cluster.attempt WHERE account = $1`, account[:])
		return err
	})
	if err != nil {
		return err
	}
	return p.cfg.Database.Vacuum(ctx, "cluster.lane", "cluster.attempt")
}

// LastDelivered implements Store.
func (p *Postgres) LastDelivered(ctx context.Context, party ulid.ULID) (time.Time, error) {
	var at int64
	err := p.read(ctx, func() { at = 0 }, func(row pgx.Row) error { return row.Scan(&at) },
		`SELECT at FROM cluster.attempt WHERE party = $1 AND outcome = $2 ORDER BY id DESC LIMIT 1`, party[:], OutcomeDelivered)
	return sqlitefile.Time(at), err
}

// Attempts implements Store.
func (p *Postgres) Attempts(ctx context.Context, f Filter) (found []Attempt, err error) {
	conditions := []string{"at >= $1"}
	parameters := []any{sqlitefile.Milliseconds(p.cfg.Now().Add(-p.cfg.MaxAge))}
	where := func(column string, value any) {
		parameters = append(parameters, value)
		conditions = append(conditions, fmt.Sprintf("%s = $%d", column, len(parameters)))
	}
	if f.Party != ulid.Zero {
		where("party", f.Party[:])
	}
	if f.Account != ulid.Zero {
		where("account", f.Account[:])
	}
	if f.Event != ulid.Zero {
		where("event", f.Event[:])
	}
	if f.Outcome != "" {
		where("outcome", f.Outcome)
	}
	if f.Before > 0 {
		parameters = append(parameters, f.Before)
		conditions = append(conditions, fmt.Sprintf("id < $%d", len(parameters)))
	}
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	var sealed [][]byte
	err = p.read(ctx, func() { found, sealed = nil, nil }, func(row pgx.Row) error {
		a, excerpt, err := scanAttempt(row)
		found, sealed = append(found, a), append(sealed, excerpt)
		return err
	}, fmt.Sprintf(`SELECT %s FROM cluster.attempt WHERE %s ORDER BY id DESC LIMIT %d`,
		attemptColumns, strings.Join(conditions, " AND "), f.Limit), parameters...)
	for i := range found {
		if err != nil {
			return nil, err
		}
		found[i].Excerpt, err = unseal(ctx, p.cfg.Keys, &found[i], sealed[i])
	}
	slices.Reverse(found)
	return found, err
}
