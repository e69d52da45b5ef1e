package sqlite

import (
	"context"
	"database/sql"
	"math"
	"os"
	"sync"
	"syscall"

	"konto/eventstore/sqlitefile"
)

// lookEvery is after how many records the checkpointer checks the length of the write-ahead
// log: about 1,000 pages if each record is of another stream.
const lookEvery = 1000

// leftForWriter is how many pages may be left for the writer to move. That takes a millisecond.
const leftForWriter = 500

// checkpointer moves the write-ahead log into the file, on its own connection, while the
// writer goes on. If commits did it, as is SQLite's default, every append would wait: 100 to
// 300 ms with 300,000 to 600,000 records on a busy machine.
//
// SQLite restarts the write-ahead log only when all of it was moved, and under load there
// is always another commit. So the checkpointer moves nearly all pages and then asks the
// writer to move the rest between two transactions. SQLite syncs the file only at that
// moment, so the checkpointer syncs it before: otherwise the writer waited for 80 to 100 ms
// with ten million records.
type checkpointer struct {
	path  string
	ask   func() // asks the writer to move the rest
	limit int    // how many pages are worth a move
	wake  chan struct{}
	ended chan struct{} // closed by run

	mu sync.Mutex // held while pages are moved, and during long reads; see readLong
	db *sql.DB    // nil until it is needed
	// file is used to sync. Closing any descriptor of a file drops all locks that the process
	// has on the file, including SQLite's, so it is closed after all connections.
	file *os.File
}

func newCheckpointer(path string, ask func()) *checkpointer {
	return &checkpointer{path: path, ask: ask, limit: sqlitefile.CheckpointPages, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// look wakes run. It does not wait.
func (c *checkpointer) look() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run moves pages when there are many, until wake is closed. After a failure the pages stay
// where they are, and the next look tries again.
func (c *checkpointer) run() {
	defer close(c.ended)
	for range c.wake {
		c.mu.Lock()
		if pages, err := c.pages(); err == nil && pages >= c.limit {
			_ = c.move(context.Background())
		}
		c.mu.Unlock()
	}
}

// pages returns the length of the write-ahead log.
func (c *checkpointer) pages() (int, error) {
	if err := c.open(); err != nil {
		return 0, err
	}
	return sqlitefile.LogPages(context.Background(), c.db)
}

// move moves pages until the writer can move the rest, and asks it to. The caller holds mu.
func (c *checkpointer) move(ctx context.Context) error {
	before, err := c.pages()
	if err != nil {
		return err
	}
	for grown := math.MaxInt; ; {
		if err := sqlitefile.Checkpoint(ctx, c.db); err != nil {
			return err
		}
		if err := c.file.Sync(); err != nil {
			return err
		}
		after, err := c.pages()
		if err != nil {
			return err
		}
		// The pages written meanwhile are left. Stop as well if they do not become fewer.
		if after-before <= leftForWriter || after-before >= grown {
			c.ask()
			return nil
		}
		before, grown = after, after-before
	}
}

func (c *checkpointer) open() (err error) {
	if c.db == nil {
		if c.db, err = sqlitefile.OpenCheckpointer(c.path); err != nil {
			return err
		}
	}
	if c.file == nil {
		c.file, err = os.OpenFile(c.path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	}
	return err
}

// close ends run. Nobody may call look afterwards.
func (c *checkpointer) close() error {
	close(c.wake)
	<-c.ended
	if c.db == nil {
		return nil
	}
	return c.db.Close()
}

// closeFile is called after close, when no connection to the file is left.
func (c *checkpointer) closeFile() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
