package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"konto/eventstore"
)

// A lease lasts leaseTime, or longer if its holder asks for that, and is renewed every renewEvery.
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
	until *atomic.Pointer[time.Time] // by this machine's clock; the holder trusts the lease until then
}

// Lasts reports whether the lease is held for d from now on, even if it is not renewed.
func (l Lease) Lasts(d time.Duration) bool { return time.Now().Add(d).Before(*l.until.Load()) }

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

// RevokeLease makes Check and the renewal fail for whoever has the lease. Nobody gets the lease
// before it has run out: until then its holder may do what it does not write here.
func RevokeLease(ctx context.Context, tx pgx.Tx, name string) error {
	_, err := tx.Exec(ctx, `INSERT INTO cluster.lease AS l (name, epoch, holder, until) VALUES ($1, 1, '', '-infinity')
		ON CONFLICT (name) DO UPDATE SET epoch = l.epoch + 1`, name)
	return err
}

// HoldLease waits until the node has the lease, calls do, and releases the lease when do returns.
// do's context ends with ctx, and when the lease cannot be renewed in time. The lease is renewed
// until do returns. HoldLease returns ctx's error when ctx ends before the node has the lease,
// ErrLeaseLost when the lease was lost, and otherwise what do returns.
func (db *Database) HoldLease(ctx context.Context, name, node string, do func(ctx context.Context, l Lease) error) error {
	return db.HoldLongLease(ctx, name, node, 0, do)
}

// HoldLongLease is HoldLease for a holder that does what takes up to longest and is not written
// here. The lease lasts so much longer. What begins only while Lasts(longest) is true ends before
// another node has the lease.
func (db *Database) HoldLongLease(
	ctx context.Context, name, node string, longest time.Duration, do func(ctx context.Context, l Lease) error,
) error {
	lasts := leaseTime + longest
	l, err := db.acquireLease(ctx, name, node, lasts)
	if err != nil {
		return err
	}
	db.metrics.leases.WithLabelValues(name).Set(1)
	defer db.metrics.leases.DeleteLabelValues(name)
	held, lost := context.WithCancelCause(ctx)
	renewed, stop := context.WithCancel(context.WithoutCancel(ctx)) // do may take its time to end
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		db.renewLease(renewed, l, lasts, lost)
	}()
	err = do(held, l)
	cause := context.Cause(held)
	stop()
	<-renewing
	lost(nil)
	if errors.Is(cause, ErrLeaseLost) {
		return cause
	}
	return errors.Join(err, db.releaseLease(context.WithoutCancel(ctx), l))
}

func (db *Database) acquireLease(ctx context.Context, name, node string, lasts time.Duration) (Lease, error) {
	l := Lease{Name: name, until: &atomic.Pointer[time.Time]{}}
	for {
		until := time.Now().Add(lasts) // from before the server's clock is read
		err := db.Write(ctx, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `INSERT INTO cluster.lease AS l (name, epoch, holder, until)
				VALUES ($1, 1, $2, clock_timestamp() + $3::interval)
				ON CONFLICT (name) DO UPDATE SET epoch = l.epoch + 1, holder = excluded.holder, until = excluded.until
					WHERE l.until < clock_timestamp()
				RETURNING epoch`, name, node, lasts).Scan(&l.Epoch)
		})
		switch {
		case err == nil:
			l.until.Store(&until)
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
func (db *Database) renewLease(ctx context.Context, l Lease, lasts time.Duration, lost context.CancelCauseFunc) {
	for {
		until := *l.until.Load()
		select {
		case <-time.After(renewEvery):
		case <-time.After(time.Until(until)):
		case <-ctx.Done():
			return
		}
		begun := time.Now()
		bounded, cancel := context.WithDeadline(ctx, until)
		err := db.Write(bounded, func(tx pgx.Tx) error {
			tag, err := tx.Exec(bounded, `UPDATE cluster.lease SET until = clock_timestamp() + $3::interval
				WHERE name = $1 AND epoch = $2 AND until > clock_timestamp()`, l.Name, l.Epoch, lasts)
			if err == nil && tag.RowsAffected() == 0 {
				err = ErrLeaseLost
			}
			return err
		})
		cancel()
		switch {
		case err == nil:
			until = begun.Add(lasts)
			l.until.Store(&until)
		case errors.Is(err, ErrLeaseLost) || !time.Now().Before(until):
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
