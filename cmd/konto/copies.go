package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// partialSuffix marks a file that is being made: it is not what its name says yet.
const partialSuffix = ".partial"

// makeFile has write make a file, readable by its owner alone, which appears under
// its name only when it is complete and durable. A file that is there already is
// never overwritten: it may be the only good copy. write gets the name to write
// to; nothing has it yet.
func makeFile(path string, write func(partial string) error) error {
	if !missing(path) {
		return fmt.Errorf("%s exists already, and is not overwritten", path)
	}
	partial := path + partialSuffix
	// Of one that was cut off; a folder of that name is somebody else's.
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := write(partial)
	if err == nil {
		err = syncFile(partial)
	}
	if err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		if !missing(partial) {
			err = errors.Join(err, os.Remove(partial))
		}
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// copyFile copies a file into a new one, durably but for its name.
func copyFile(ctx context.Context, from, to string) (err error) {
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
	const piece = 4 << 20 // synced piece by piece, so that no commit's sync waits for all of it
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := io.CopyN(out, in, piece)
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

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
