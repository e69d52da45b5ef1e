package postgres

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Cursors stores the cursors of what runs on one node at a time. Only the node that holds the
// lease changes them.
type Cursors struct {
	db         *Database
	name, node string

	mu    sync.Mutex
	lease Lease // the last one that the node had
}

// Cursors returns the cursors that the holder of a lease may change. node is this node's name.
func (db *Database) Cursors(lease, node string) *Cursors {
	return &Cursors{db: db, name: lease, node: node, lease: Lease{Name: lease}}
}

// Hold waits until the node has the lease, calls do, and releases the lease when do returns. See
// Database.HoldLease. It must not be called twice at once.
func (c *Cursors) Hold(ctx context.Context, do func(ctx context.Context) error) error {
	return c.db.HoldLease(ctx, c.name, c.node, func(ctx context.Context, l Lease) error {
		c.mu.Lock()
		c.lease = l
		c.mu.Unlock()
		return do(ctx)
	})
}

// held returns the lease that Hold last got.
func (c *Cursors) held() Lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lease
}

// Check fails with ErrLeaseLost unless this node has the lease.
func (c *Cursors) Check(ctx context.Context) error {
	return c.db.Write(ctx, func(tx pgx.Tx) error { return c.held().Check(ctx, tx) })
}

// Cursor returns what SetCursor last stored under a name, on any node, nil if nothing was.
func (c *Cursors) Cursor(ctx context.Context, name string) (value []byte, err error) {
	err = c.db.Read(ctx, func(b *pgx.Batch) {
		value = nil
		b.Queue(`SELECT value FROM cluster.cursor WHERE name = $1`, name).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&value}, func() error { return nil })
			return err
		})
	})
	return value, err
}

// SetCursor stores a value durably. It fails with ErrLeaseLost, and stores nothing, unless this
// node has the lease. After ErrOutcomeUnknown the value may be stored.
func (c *Cursors) SetCursor(ctx context.Context, name string, value []byte) error {
	return c.db.Write(ctx, func(tx pgx.Tx) error {
		if err := c.held().Check(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO cluster.cursor (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
		return err
	})
}
