package datafolder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"konto/eventstore/sqlitefile"
)

// openOrReplace opens deliveries.db or erasures.db, or a new one if the file is damaged. Nobody who
// reads or changes an account depends on these files, so they must not keep konto from starting.
// lost says what the loss of the file means.
func openOrReplace[T any](path string, open func(path string) (T, error), lost string, warn func(string)) (T, error) {
	opened, err := open(path)
	if !errors.Is(err, sqlitefile.ErrMalformed) {
		return opened, err
	}
	aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	// The file itself is renamed last. If it were renamed first and the process were killed,
	// what is left of its write-ahead log would be applied to the new file.
	for _, part := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+part, aside+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return opened, fmt.Errorf("set a damaged file aside: %w", err)
		}
	}
	warn(path + " is damaged and was renamed to " + filepath.Base(aside) + "; " + lost)
	return open(path)
}
