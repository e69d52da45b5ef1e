package sqlitefile

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// TriedPrefix begins the name of the folder beside a copy in which Try looks at it;
// the copy's own name follows. One that is there otherwise is of a try that was killed.
const TriedPrefix = ".konto-restored-"

// Try calls do with another copy of a copy, in a folder of its own that is gone
// afterwards: to be opened is enough for SQLite to change a file.
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

// CopyFile copies a file that nobody writes to into a new one, readable by its owner
// alone and durable but for its name. After an error the new one may be there.
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
