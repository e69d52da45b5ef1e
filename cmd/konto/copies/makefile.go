package copies

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"konto/cmd/konto/datafolder"
)

// partialSuffix marks a file that is not complete yet.
const partialSuffix = ".partial"

// makeFile makes a file that only its owner can read. write gets the name to write to, under
// which there is nothing yet. The file gets its own name only when it is complete and durable.
// After an error nothing is left. An existing file is never overwritten, because it may be the
// only good copy.
func makeFile(path string, write func(partial string) error) error {
	partial := path + partialSuffix
	// An earlier call that was killed may have left this file, perhaps with secrets in clear.
	// os.Remove keeps a folder that is not empty: konto did not make it.
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !datafolder.Missing(path) {
		return fmt.Errorf("%s exists already, and is not overwritten", path)
	}
	err := write(partial)
	if err == nil {
		err = syncFile(partial)
	}
	if err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		if !datafolder.Missing(partial) {
			err = errors.Join(err, os.Remove(partial))
		}
		return err
	}
	if err := datafolder.Sync(filepath.Dir(path)); err != nil { // a loss of power may lose the name
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
