// Package sqlitefile opens konto's SQLite files (log.db, keys.db and others) with the settings
// that their guarantees need: one writer that syncs at each commit, and readers that cannot
// write, both in WAL mode. Group lets many callers share a commit. No other package imports
// the SQLite driver.
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
	"time"

	"github.com/mattn/go-sqlite3"
)

// writerPragmas are for the writer's connection.
//
// synchronous: the driver's default is NORMAL, which loses commits in a power failure.
//
// secure_delete: deleted data is overwritten, so that an erased account leaves no bytes.
//
// wal_autocheckpoint: the commit that fills so many pages of 4 KiB moves them into the file.
// SQLite's default is 1,000. With 20,000 a page that changes often is moved less often: 20 %
// more appends and half the p99, with 64 clients of the log. In return the write-ahead log
// has 80 MB, which are read when the file is opened after a crash, and a move takes longer.
const writerPragmas = `
	PRAGMA busy_timeout = 10000;
	PRAGMA journal_mode = WAL;
	PRAGMA synchronous = FULL;
	PRAGMA secure_delete = ON;
	PRAGMA wal_autocheckpoint = 20000;`

// derivedPragmas follow writerPragmas for a file that can be computed again.
//
// synchronous: with NORMAL only checkpoints are synced. A commit outlives the process, but a
// power failure may lose the last commits. It never damages the file.
const derivedPragmas = `
	PRAGMA synchronous = NORMAL;`

// preparedStatements is how many statements the driver caches for a writer. A writer runs the same
// few in each transaction. This saves 20 microseconds of a small one.
const preparedStatements = "16"

// readerPragmas are for the readers' connections. The journal mode is stored in the file.
const readerPragmas = `
	PRAGMA busy_timeout = 10000;
	PRAGMA synchronous = FULL;
	PRAGMA query_only = ON;`

// OpenWriter opens a file for its only writer: a pool of one connection, whose transactions take
// the write lock when they begin. It creates a missing file, which only its owner can read. It
// follows no link. Errors: ErrMalformed, and those of the file system.
func OpenWriter(path string) (*sql.DB, error) { return openWriter(path, writerPragmas) }

// OpenCopyWriter is OpenWriter for a file that can be computed again. A power failure may lose its
// last commits.
func OpenCopyWriter(path string) (*sql.DB, error) {
	return openWriter(path, writerPragmas+derivedPragmas)
}

func openWriter(path, pragmas string) (*sql.DB, error) {
	// SQLite would create the file with the permissions that the umask allows.
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // follows no link either
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
	// Positions have no gaps because there is only one connection.
	db.SetMaxOpenConns(1)
	return db, nil
}

// OpenReaders opens an existing file for up to n concurrent readers, which cannot write. Errors:
// fs.ErrNotExist, ErrMalformed, and those of the file system.
func OpenReaders(path string, n int) (*sql.DB, error) {
	// SQLite's own error would not name the reason.
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
	// SQLite follows a link at the path, but not at the path of the write-ahead log.
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("open %s: %w", path, syscall.ELOOP)
	}
	// '?', '#' and '%' have a meaning in SQLite's file URIs.
	uri := url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: parameters.Encode()}
	db := sql.OpenDB(&connector{uri: uri.String(), driver: sqlite3.SQLiteDriver{
		ConnectHook: func(conn *sqlite3.SQLiteConn) error {
			_, err := conn.Exec(pragmas, nil)
			return err
		},
	}})
	// Opening reads nothing. This reads the first page of the file.
	if _, err := db.Exec("PRAGMA schema_version"); err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s: %w", path, Explain(err))
	}
	return db, nil
}

// connector runs the pragmas on every connection that a pool opens. A statement that runs on the
// pool would reach only one of them.
type connector struct {
	uri    string
	driver sqlite3.SQLiteDriver
}

func (c *connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.uri) }
func (c *connector) Driver() driver.Driver                        { return &c.driver }

// ErrMalformed is matched by the error for a file that is not a SQLite database, or is damaged.
// The file was not changed.
var ErrMalformed = errors.New("not a SQLite database, or a damaged one")

// Explain wraps driver errors that callers must recognize in ErrMalformed. It returns other
// errors as they are.
func Explain(err error) error {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case sqlite3.ErrNotADB, sqlite3.ErrCorrupt:
		return fmt.Errorf("%w (%w)", ErrMalformed, err)
	}
	return err
}

// minVersion is the first SQLite without the WAL-reset corruption of 3.7.0 to
// 3.51.2 (sqlite.org/wal.html).
const minVersion = 3051003

// CheckVersion returns an error if the SQLite library can corrupt a database. Every function
// that opens a file calls it.
func CheckVersion() error {
	name, number, _ := sqlite3.Version()
	return checkVersion(name, number)
}

func checkVersion(name string, number int) error {
	if number < minVersion {
		return fmt.Errorf("SQLite %s can corrupt its files; konto needs 3.51.3 or later", name)
	}
	return nil
}

// Milliseconds returns a time in milliseconds since 1970, as it is stored. The zero time is 0.
func Milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time is the reverse of Milliseconds, in UTC.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
