package copies

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"konto/cmd/konto/datafolder"
)

// partialSuffix marks a file that is being made: it is not what its name says yet.
const partialSuffix = ".partial"

// makeFile has write make a file, readable by its owner alone, which appears under
// its name only when it is complete and durable. After an error nothing is left. A file that is there already is
// never overwritten: it may be the only good copy. write gets the name to write
// to; nothing has it yet.
func makeFile(path string, write func(partial string) error) error {
	partial := path + partialSuffix
	// Of one that was cut off, with secrets in clear perhaps; a folder of that name is
	// somebody else's.
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
	if err := datafolder.Sync(filepath.Dir(path)); err != nil { // its name may be lost with the power
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
