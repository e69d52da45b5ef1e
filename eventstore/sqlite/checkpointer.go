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

// lookEvery is after how many records the checkpointer looks how long the
// write-ahead log is: about 1,000 pages when each is of another stream.
const lookEvery = 1000

// leftForWriter is how many pages the writer may find in the write-ahead log when
// it is to move the last of them: a millisecond's work.
const leftForWriter = 500

// checkpointer moves the write-ahead log into the file, on a connection of its own,
// while the writer goes on. A commit that did it, as SQLite has it, would make
// every append wait: for 100 to 300 ms at 300,000 to 600,000 records on a busy machine.
//
// SQLite begins the write-ahead log anew only when all of it was moved, and under
// load there is always another commit. So the writer moves the last few
// pages itself, between two transactions, once the checkpointer has told it to. SQLite
// syncs the file only then, so the checkpointer syncs it before: of ten million
// records, whose pages are far apart, the writer waited for 80 to 100 ms.
type checkpointer struct {
	path  string
	tell  func() // has the writer move the rest
	limit int    // of pages, from which on they are moved
	wake  chan struct{}
	ended chan struct{} // closed by run

	mu sync.Mutex // held while pages are moved, and while they cannot be: see readLong
	db *sql.DB    // nil until it is needed
	// file is what is synced. To close any descriptor of a file gives up the locks that
	// the process has on it, SQLite's among them, so it is closed after all connections.
	file *os.File
}

func newCheckpointer(path string, tell func()) *checkpointer {
	return &checkpointer{path: path, tell: tell, limit: sqlitefile.CheckpointPages, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// look has the checkpointer see whether there is something to do. It does not wait.
func (c *checkpointer) look() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run moves pages whenever there are many, until wake is closed. What fails is
// tried again at the next look: the pages stay where they are.
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

func (c *checkpointer) pages() (int, error) {
	if err := c.open(); err != nil {
		return 0, err
	}
	return sqlitefile.LogPages(context.Background(), c.db)
}

// move moves pages until the writer can do the rest, and tells it. mu is held.
func (c *checkpointer) move(ctx context.Context) error {
	before, err := c.pages()
	if err != nil {
		return err
	}
	for grew := math.MaxInt; ; {
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
		// What came meanwhile is left; or it comes in faster than it goes.
		if after-before <= leftForWriter || after-before >= grew {
			c.tell()
			return nil
		}
		before, grew = after, after-before
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

// close ends run. Nobody looks any more.
func (c *checkpointer) close() error {
	close(c.wake)
	<-c.ended
	if c.db == nil {
		return nil
	}
	return c.db.Close()
}

// closeFile follows close once no connection to the file is left.
func (c *checkpointer) closeFile() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
