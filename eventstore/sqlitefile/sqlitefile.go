package sqlitefile

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// writerPragmas are set on the writer's connection.
//
// synchronous: the driver's own default is NORMAL, with which a commit in WAL
// mode is lost when power is.
//
// secure_delete: what is deleted is overwritten, so that an erased account
// leaves no bytes behind.
//
// wal_autocheckpoint: the commit that fills this many pages of 4 KiB pays for
// copying them into the file. SQLite's default of 1,000 puts that into every
// few dozen commits; with 20,000 pages far fewer page copies are made in all,
// since a page that was changed often is copied once: 20 % more appends and half
// the p99 with 64 clients of the log. The price is a WAL of 80 MB, which is read
// when the file is opened after a crash, and a longer pause when its turn comes.
const writerPragmas = `
	PRAGMA busy_timeout = 10000;
	PRAGMA journal_mode = WAL;
	PRAGMA synchronous = FULL;
	PRAGMA secure_delete = ON;
	PRAGMA wal_autocheckpoint = 20000;`

// copyPragmas follow writerPragmas for a file that can be made again.
//
// synchronous: with NORMAL a commit is not synced, only a checkpoint is. What a
// process committed outlives it; a power cut may take the last commits, whole ones
// and the newest first, and never damages the file.
const copyPragmas = `
	PRAGMA synchronous = NORMAL;`

// preparedStatements is how many statements the driver keeps prepared for a writer,
// which runs the same few in each transaction: 20 microseconds of a small one.
const preparedStatements = "16"

// readerPragmas are set on each reader's connection. The journal mode is the
// file's own; a reader never changes it.
const readerPragmas = `
	PRAGMA busy_timeout = 10000;
	PRAGMA synchronous = FULL;
	PRAGMA query_only = ON;`

// OpenWriter opens the file for its one writer: a pool of one connection, whose
// transactions take the write lock when they begin. A missing file is made,
// readable by its owner alone. A link is not followed. Errors: ErrMalformed, and
// those of the file system.
func OpenWriter(path string) (*sql.DB, error) { return openWriter(path, writerPragmas) }

// OpenCopyWriter is OpenWriter for a file that only holds what can be found out
// anew: a power cut may take it back to an earlier commit.
func OpenCopyWriter(path string) (*sql.DB, error) { return openWriter(path, writerPragmas+copyPragmas) }

func openWriter(path, pragmas string) (*sql.DB, error) {
	// SQLite would make the file readable by everyone that the umask allows.
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // which follows no link either
	}
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	db, err := open(path, url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_stmt_cache_size": {preparedStatements}}, pragmas)
	if err != nil {
		return nil, err
	}
	// One connection: positions are free of gaps only because writers are serial.
	db.SetMaxOpenConns(1)
	return db, nil
}

// OpenReaders opens an existing file for up to n readers at once, which cannot
// write. Errors: fs.ErrNotExist, ErrMalformed, and those of the file system.
func OpenReaders(path string, n int) (*sql.DB, error) {
	// SQLite says "unable to open database file" whatever the reason.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	db, err := open(path, url.Values{"mode": {"ro"}}, readerPragmas)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

func open(path string, parameters url.Values, pragmas string) (*sql.DB, error) {
	if err := CheckVersion(); err != nil {
		return nil, err
	}
	// SQLite follows a link at the path; it follows none at the paths of its
	// write-ahead log and its index.
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("open %s: %w", path, syscall.ELOOP)
	}
	// Escaped, because '?', '#' and '%' mean something in SQLite's file URIs.
	uri := url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: parameters.Encode()}
	db := sql.OpenDB(&connector{uri: uri.String(), driver: sqlite3.SQLiteDriver{
		ConnectHook: func(conn *sqlite3.SQLiteConn) error {
			_, err := conn.Exec(pragmas, nil)
			return err
		},
	}})
	// Opening reads nothing; this reads the file's first page.
	if _, err := db.Exec("PRAGMA schema_version"); err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s: %w", path, Explain(err))
	}
	return db, nil
}

// connector runs the pragmas on every connection that a pool opens; a PRAGMA
// statement run on the pool would reach only one of them.
type connector struct {
	uri    string
	driver sqlite3.SQLiteDriver
}

func (c *connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.uri) }
func (c *connector) Driver() driver.Driver                        { return &c.driver }
