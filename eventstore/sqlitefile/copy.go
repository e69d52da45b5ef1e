package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// copierPragmas are for a connection that reads one file and writes another.
//
// synchronous: Copy syncs the new file in pieces. SQLite would sync all of it at the end, and
// every commit would wait behind that sync.
const copierPragmas = `
	PRAGMA busy_timeout = 10000;
	PRAGMA synchronous = OFF;`

// syncPiece is how many bytes of a copy are written at most before they are synced.
const syncPiece = 4 << 20

// Copy writes the database in the file from, as it is when the call begins, into the new file
// to, while from is in use. Only its owner can read the new file, and it contains no deleted data.
// Its content is durable when Copy returns, its name is not. After an error it does not
// exist.
//
// Meanwhile the write-ahead log of from cannot be moved into its file; see Checkpoint.
func Copy(ctx context.Context, from, to string) (err error) {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(to))
		}
	}()
	db, err := open(from, url.Values{"mode": {"ro"}}, copierPragmas)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	stop := syncGrowing(f)
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	if err = errors.Join(err, stop()); err != nil {
		return fmt.Errorf("copy %s: %w", from, Explain(err))
	}
	return f.Sync()
}

// syncGrowing syncs a file in pieces while somebody else writes it, until stop is called.
func syncGrowing(f *os.File) (stop func() error) {
	end, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for synced := int64(0); ; {
			select {
			case <-end:
				ended <- nil
				return
			case <-tick.C:
			}
			info, err := f.Stat()
			if err == nil && info.Size() >= synced+syncPiece {
				err = f.Sync()
				synced = info.Size()
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	return func() error {
		close(end)
		return <-ended
	}
}

// TriedPrefix is the prefix of the folder that Try creates in the folder of a copy. The name of the copy
// follows. After a crash the folder remains, and the next Try deletes it.
const TriedPrefix = ".konto-restored-"

// Try calls do with a copy of a file, in a folder that is deleted afterwards. Even opening a file
// lets SQLite change it.
func Try(ctx context.Context, path string, do func(restored string) error) (err error) {
	scratch := filepath.Join(filepath.Dir(path), TriedPrefix+filepath.Base(path))
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	restored := filepath.Join(scratch, "restored.db")
	if err := CopyFile(ctx, path, restored); err != nil {
		return err
	}
	return do(restored)
}

// CopyFile copies a file that nobody writes to into a new file, which only its owner can read. Its
// content is durable, its name is not. After an error the new file may exist.
func CopyFile(ctx context.Context, from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := io.CopyN(out, in, syncPiece)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := errors.Join(out.Sync(), ctx.Err()); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
}

// scratchPragmas make writes cheap for a file that nobody uses before it is complete: nothing is
// synced, and nothing can be rolled back.
//
// cache_size: 32 MiB, because rows are written in no order.
const scratchPragmas = `
	PRAGMA locking_mode = EXCLUSIVE;
	PRAGMA journal_mode = OFF;
	PRAGMA synchronous = OFF;
	PRAGMA temp_store = FILE;
	PRAGMA cache_size = -32768;`

// Make creates a file and calls fill to write it on a pool of one connection. The file and its
// name are durable when Make returns. This is much cheaper than OpenWriter. After an error or
// a crash the file may be damaged and must be deleted.
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
	// Commits to other files would wait behind one sync of the whole file.
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
