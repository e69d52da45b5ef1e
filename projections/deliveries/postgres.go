package deliveries

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"konto/eventstore"
	"konto/eventstore/postgres"
	"konto/eventstore/sqlitefile"
)

// Postgres is the Store of many machines: tables of the database that has the log, so it belongs to
// the log's history. Hold is a lease for each third party. During Hold, each transaction with a
// change of the third party checks the lease, so a process that has lost it changes nothing.
type Postgres struct {
	cfg     PostgresConfig
	changes *sqlitefile.Group[*changed] // what arrives together shares a transaction

	lease *postgres.Lease // during Hold, else nil

	// Used only by the transaction under way.
	sinceCut  map[ulid.ULID]int // counts attempts as cache.sinceCut does
	expiredAt time.Time         // when attempts that are too old were last deleted
}

// PostgresConfig configures NewPostgres.
type PostgresConfig struct {
	Database *postgres.Database // required
	Keys     eventstore.Keys    // required
	Node     string             // the name of this node; required
	// Timeout is how long a request to a third party takes at most; 0 means 15 s. When a node dies,
	// another one goes on after this time and some seconds.
	Timeout time.Duration
	// MaxAttempts, MaxAge and Now are those of FileConfig.
	MaxAttempts int
	MaxAge      time.Duration
	Now         func() time.Time
}

const (
	// defaultTimeout is that of package webhook.
	defaultTimeout = 15 * time.Second

	// commitTime bounds a transaction with changes. One that takes longer is made again by whoever
	// wanted the changes.
	commitTime = 10 * time.Second

	// Every expireEvery, at most expireMost attempts that are too old are deleted.
	expireEvery = time.Minute
	expireMost  = 10_000
)

// NewPostgres returns the store. An error says what is wrong with the configuration.
func NewPostgres(cfg PostgresConfig) (*Postgres, error) {
	if cfg.Database == nil || cfg.Keys == nil || cfg.Node == "" {
		return nil, errors.New("deliveries: a database, keys and the node's name are required")
	}
	if cfg.Timeout < 0 || cfg.MaxAttempts < 0 || cfg.MaxAge < 0 {
		return nil, errors.New("deliveries: a timeout or a bound of the delivery log is negative")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = defaultMaxAttempts
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Postgres{cfg: cfg, sinceCut: map[ulid.ULID]int{}}
	p.changes = sqlitefile.NewGroup(p.commit)
	return p, nil
}

// Close implements Store. The database stays open.
func (p *Postgres) Close() error { return nil }

// Shared implements Store.
func (p *Postgres) Shared() bool { return true }

func leaseName(party ulid.ULID) string { return "deliveries/" + party.String() }

// Hold implements Store. What it passes to run is a *Postgres too. The lease is renewed until run
// returns, also while run ends because ctx has.
func (p *Postgres) Hold(ctx context.Context, party ulid.ULID, run func(context.Context, Held) error) error {
	acquiring, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	holds := context.AfterFunc(ctx, stop)
	do := func(held context.Context, l postgres.Lease) error {
		if !holds() {
			return ctx.Err()
		}
		return run(held, &Postgres{cfg: p.cfg, changes: p.changes, lease: &l})
	}
	return p.cfg.Database.HoldLongLease(acquiring, leaseName(party), p.cfg.Node, p.cfg.Timeout, do)
}

// MaySend implements Held.
func (p *Postgres) MaySend() bool { return p.lease != nil && p.lease.Lasts(p.cfg.Timeout) }

// changed is what one caller wants changed.
type changed struct {
	lease   *postgres.Lease // that has to be held, nil if none has
	queue   func(b *pgx.Batch)
	attempt *Attempt // that is added, nil if none is
	refused error    // set by commit if the lease is lost
}

// change makes a change, together with those of others who wait. It takes no context: that of one
// caller must not end what others share.
func (p *Postgres) change(a *Attempt, queue func(b *pgx.Batch)) error {
	c := &changed{lease: p.lease, queue: queue, attempt: a}
	if err := p.changes.Add(c); err != nil {
		return err
	}
	return c.refused
}

// commit makes the changes of a group in one transaction. One that is refused does not fail the
// others.
func (p *Postgres) commit(group []*changed) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTime)
	defer cancel()
	err := p.cfg.Database.Write(ctx, func(tx pgx.Tx) error {
		// All leases come before all rows: who waits for a lease here keeps nobody waiting who has it.
		checked := map[postgres.Lease]error{}
		b := &pgx.Batch{}
		for _, c := range group {
			if c.lease != nil {
				err, known := checked[*c.lease]
				if !known {
					err = c.lease.Check(ctx, tx)
					checked[*c.lease] = err
				}
				if c.refused = err; errors.Is(err, postgres.ErrLeaseLost) {
					continue
				} else if err != nil {
					return err
				}
			}
			c.queue(b)
			if c.attempt != nil {
				p.cut(b, c.attempt.Party)
			}
		}
		p.deleteExpired(b)
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		clear(p.sinceCut)
		p.expiredAt = time.Time{}
	}
	return err
}

// write runs a transaction of its own. It checks the lease first.
func (p *Postgres) write(ctx context.Context, do func(tx pgx.Tx) error) error {
	return p.cfg.Database.Write(ctx, func(tx pgx.Tx) error {
		if p.lease != nil {
			if err := p.lease.Check(ctx, tx); err != nil {
				return err
			}
		}
		return do(tx)
	})
}

// read runs one query and calls scan with each of its rows. reset is called first, and again if the
// query has to be repeated.
func (p *Postgres) read(ctx context.Context, reset func(), scan func(pgx.Row) error, query string, parameters ...any) error {
	return p.cfg.Database.Read(ctx, func(b *pgx.Batch) {
		reset()
		b.Queue(query, parameters...).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				if err := scan(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	})
}

// cut counts one more attempt of a third party, and shortens its delivery log when it is time, as
// a File does. The first attempt that this process adds is such a time.
func (p *Postgres) cut(b *pgx.Batch, party ulid.ULID) {
	every := max(1, p.cfg.MaxAttempts/100)
	counted, known := p.sinceCut[party]
	if p.sinceCut[party] = counted + 1; known && counted+1 < every {
		return
	}
	p.sinceCut[party] = 0
	b.Queue(`DELETE FROM cluster.attempt WHERE party = $1 AND id <=
		(SELECT id FROM cluster.attempt WHERE party = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)`, party[:], p.cfg.MaxAttempts-every+1)
}

func (p *Postgres) deleteExpired(b *pgx.Batch) {
	now := p.cfg.Now()
	if now.Sub(p.expiredAt) < expireEvery {
		return
	}
	p.expiredAt = now
	b.Queue(`DELETE FROM cluster.attempt WHERE id IN (SELECT id FROM cluster.attempt ORDER BY id LIMIT $1) AND at < $2`,
		expireMost, sqlitefile.Milliseconds(now.Add(-p.cfg.MaxAge)))
}
