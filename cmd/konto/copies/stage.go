package copies

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"konto/cmd/konto/datafolder"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
	"konto/eventstore/sqlitefile"
)

// ofCopy is an error about a copy of a file. It names the file instead, which the caller
// knows.
type ofCopy struct {
	error
	copy, file string
}

// Error implements error.
func (e *ofCopy) Error() string { return strings.ReplaceAll(e.error.Error(), e.copy, e.file) }

// Unwrap returns the error about the copy.
func (e *ofCopy) Unwrap() error { return e.error }

// stageFile copies a file that is about to replace another, and checks the copy.
func stageFile(ctx context.Context, file, to string, check func() error) error {
	// The write-ahead log is beside the file itself.
	if path, err := filepath.EvalSymlinks(file); err != nil {
		return err
	} else if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		return fmt.Errorf("%s is a file in use, with a write-ahead log beside it, and no backup", file)
	}
	err := sqlitefile.CopyFile(ctx, file, to)
	if err == nil {
		if err = check(); err != nil {
			err = fmt.Errorf("%s is not good: %w", file, err)
		}
	}
	if err != nil {
		return &ofCopy{err, to, file}
	}
	return nil
}

// stageLog stages a backup of the log.
func stageLog(ctx context.Context, file, to string, tell Progress) (found eventstore.Extent, err error) {
	err = stageFile(ctx, file, to, func() (err error) {
		found, err = sqlite.Inspect(ctx, to, tell)
		return err
	})
	return found, err
}

// stageKeys stages a copy of keys.db.
func stageKeys(ctx context.Context, master keyring.Master, file, to string) error {
	return stageFile(ctx, file, to, func() error {
		keys, err := master.OpenCopy(ctx, to)
		if err != nil {
			return err
		}
		return errors.Join(keys.Check(ctx), keys.Close())
	})
}

// checkKeys checks that a file has the keys of a log, and all of them.
func checkKeys(ctx context.Context, master keyring.Master, path string, log eventstore.AdminLog) (err error) {
	id, err := log.ID(ctx)
	if err != nil {
		return err
	}
	keys, err := master.OpenCopy(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	if err := keys.Bind(ctx, id, false); err != nil {
		return err
	}
	for after := uint64(0); ; {
		page, err := log.ReadAll(ctx, after, 1000)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if err := datafolder.CheckKey(ctx, keys, r); err != nil {
				return err
			}
			after = r.Position
		}
	}
}

// ahead returns how many events the log of a folder has that its backup does not have, and the
// position of the first. It leaves the log without a write-ahead log, so that the log can be
// restored after it was moved. n is nil if the log cannot be opened; such a log is moved as it
// is.
func ahead(ctx context.Context, folder string, backup eventstore.AdminLog, found eventstore.Extent) (n *uint64, from uint64, err error) {
	path := filepath.Join(folder, "log.db")
	if datafolder.Missing(path) {
		return new(uint64), 0, nil
	}
	if !sqlitefile.HasHeader(path) {
		return nil, 0, nil
	}
	live, err := sqlite.Open(ctx, path)
	if err != nil {
		return nil, 0, ctx.Err()
	}
	defer func() { err = errors.Join(err, live.Close()) }()
	head, err := live.Head(ctx)
	if err != nil {
		return nil, 0, err
	}
	// The hash of a record covers all records before it, so a binary search finds the last
	// common one.
	common := sort.Search(int(min(head, found.Position)), func(i int) bool {
		was, err := live.Extent(ctx, uint64(i)+1)
		is, err2 := backup.Extent(ctx, uint64(i)+1)
		return err != nil || err2 != nil || was.Chain != is.Chain
	})
	more := head - uint64(common)
	return &more, uint64(common) + 1, ctx.Err()
}
