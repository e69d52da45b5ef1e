package sqlitefile

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
)

// scratchPragmas make writing cheap for a file that is of no use to anybody
// before all of it is written: nothing is synced, nothing is undone.
//
// cache_size: 32 MiB, as rows come in the order of no index.
const scratchPragmas = `
	PRAGMA locking_mode = EXCLUSIVE;
	PRAGMA journal_mode = OFF;
	PRAGMA synchronous = OFF;
	PRAGMA temp_store = FILE;
	PRAGMA cache_size = -32768;`

// Make makes a new file with what fill writes to it, through a pool of one
// connection, and durable, its name included. It is much cheaper than OpenWriter
// for a file that is filled at one go, and must be removed after an error or a
// crash: it may be damaged then.
func Make(path string, fill func(*sql.DB) error) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	db, err := open(path, url.Values{"mode": {"rw"}, "_txlock": {"immediate"}}, scratchPragmas)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	// Synced in pieces: others' commits would wait behind all of it at once.
	stop := syncGrowing(f)
	err = fill(db)
	if err = errors.Join(err, db.Close(), stop()); err != nil {
		return err
	}
	return errors.Join(f.Sync(), SyncName(path))
}

// SyncName makes the name of a file durable.
func SyncName(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
