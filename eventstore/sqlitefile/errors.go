package sqlitefile

import (
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"
)

// ErrMalformed is matched by Explain's result for a file that is no SQLite
// database or a damaged one. The file was not changed.
var ErrMalformed = errors.New("not a SQLite database, or a damaged one")

// Explain puts konto's words to driver errors whose meaning a caller needs; it
// returns others as they are.
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

// CheckVersion refuses a SQLite library that can corrupt a database. OpenWriter
// and OpenReaders call it.
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
