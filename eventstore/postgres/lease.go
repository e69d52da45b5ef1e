package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"konto/eventstore"
)

// A lease lasts leaseTime and is renewed every renewEvery.
const (
	leaseTime  = 5 * time.Second
	renewEvery = time.Second
)

// ErrLeaseLost is returned by what needs a lease that another node has taken, or may have.
var ErrLeaseLost = errors.New("the lease is another node's")

// Lease is held by one node at a time. What the holder writes is checked with Check, so a holder
// that stopped for longer than the lease lasts, and does not know it, changes nothing.
type Lease struct {
	Name  string
	Epoch int64
	until time.Time // by this machine's clock; the holder trusts the lease until then
}

// Check fails with ErrLeaseLost unless the lease is still this holder's. It keeps the lease from
// being taken until the transaction ends.
func (l Lease) Check(ctx context.Context, tx pgx.Tx) error {
	var held bool
	err := tx.QueryRow(ctx, `SELECT true FROM cluster.lease WHERE name = $1 AND epoch = $2 FOR SHARE`, l.Name, l.Epoch).Scan(&held)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: %s", ErrLeaseLost, l.Name)
	}
	return err
}

// HoldLease waits until the node has the lease, calls do, and releases the lease when do returns.
// do's context ends when the lease cannot be renewed in time. HoldLease returns ctx's error when
// ctx ends before the node has the lease, ErrLeaseLost when the lease was lost, and otherwise what
// do returns.
func (db *Database) HoldLease(ctx context.Context, name, node string, do func(ctx context.Context, l Lease) error) error {
	l, err := db.acquireLease(ctx, name, node)
	if err != nil {
		return err
	}
	db.metrics.leases.WithLabelValues(name).Set(1)
	defer db.metrics.leases.DeleteLabelValues(name)
	held, lost := context.WithCancelCause(ctx)
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		db.renewLease(held, l, lost)
	}()
	err = do(held, l)
	cause := context.Cause(held)
	lost(nil)
	<-renewing
	if errors.Is(cause, ErrLeaseLost) {
		return cause
	}
	return errors.Join(err, db.releaseLease(context.WithoutCancel(ctx), l))
}

func (db *Database) acquireLease(ctx context.Context, name, node string) (Lease, error) {
	for {
		l := Lease{Name: name, until: time.Now().Add(leaseTime)} // from before the server's clock is read
		err := db.Write(ctx, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `INSERT INTO cluster.lease AS l (name, epoch, holder, until)
				VALUES ($1, 1, $2, clock_timestamp() + $3::interval)
				ON CONFLICT (name) DO UPDATE SET epoch = l.epoch + 1, holder = excluded.holder, until = excluded.until
					WHERE l.until < clock_timestamp()
				RETURNING epoch`, name, node, leaseTime).Scan(&l.Epoch)
		})
		switch {
		case err == nil:
			return l, nil
		case errors.Is(err, eventstore.ErrClosed), ctx.Err() != nil:
			return l, err
		}
		// Another node has it, or Postgres cannot be asked. A lease that may have been acquired by
		// this attempt runs out.
		select {
		case <-time.After(leaseTime / 10):
		case <-ctx.Done():
			return l, ctx.Err()
		}
	}
}

// renewLease renews until ctx ends. A lease that has run out is not renewed, even if nobody has
// taken it: its holder was told that it is lost.
func (db *Database) renewLease(ctx context.Context, l Lease, lost context.CancelCauseFunc) {
	for {
		select {
		case <-time.After(renewEvery):
		case <-time.After(time.Until(l.until)):
		case <-ctx.Done():
			return
		}
		begun := time.Now()
		bounded, cancel := context.WithDeadline(ctx, l.until)
		err := db.Write(bounded, func(tx pgx.Tx) error {
			tag, err := tx.Exec(bounded, `UPDATE cluster.lease SET until = clock_timestamp() + $3::interval
				WHERE name = $1 AND epoch = $2 AND until > clock_timestamp()`, l.Name, l.Epoch, leaseTime)
			if err == nil && tag.RowsAffected() == 0 {
				err = ErrLeaseLost
			}
			return err
		})
		cancel()
		switch {
		case err == nil:
			l.until = begun.Add(leaseTime)
		case errors.Is(err, ErrLeaseLost) || !time.Now().Before(l.until):
			lost(fmt.Errorf("%w: %s", ErrLeaseLost, l.Name))
			return
		}
	}
}

func (db *Database) releaseLease(ctx context.Context, l Lease) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	return db.Write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE cluster.lease SET until = '-infinity' WHERE name = $1 AND epoch = $2`, l.Name, l.Epoch)
		return err
	})
}
