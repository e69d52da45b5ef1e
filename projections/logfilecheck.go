package projections

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// ErrOtherHistory is returned for a file that knows of an event which the log does
// not hold. Either the log lost its end, or one of the two is an older copy.
var ErrOtherHistory = errors.New("it was made from another history than the log's")

// ErrOtherKeys is returned for a file whose rows are sealed with another keyring's keys.
var ErrOtherKeys = errors.New("it belongs to another keyring")

// Check checks the read model's file as LogFile.Check does, while it is in use. It
// waits for the end of a rebuild, and no rebuild begins meanwhile, because a rebuild
// exchanges the file.
func (m *ReadModel) Check(ctx context.Context) error {
	m.rebuilding.Lock()
	defer m.rebuilding.Unlock()
	return m.logFile().Check(ctx)
}

// CheckReadModel checks a file that is not open, as LogFile.Check does.
func CheckReadModel(ctx context.Context, path string, log eventstore.Log, keys eventstore.Keys) error {
	return newReadModel(path, log, keys).logFile().Check(ctx)
}

// ReadModelFits reports whether OpenReadModel would use a file as it is, as
// LogFile.Fits does.
func ReadModelFits(ctx context.Context, path string, log eventstore.Log, keys eventstore.Keys) error {
	return newReadModel(path, log, keys).logFile().Fits(ctx)
}

// Check is Fits, and also makes SQLite read all pages of the file.
func (f LogFile) Check(ctx context.Context) error {
	if err := f.Fits(ctx); err != nil {
		return err
	}
	return sqlitefile.CheckIntegrity(ctx, f.Path)
}

// Fits reports whether Open would use the file or recreate it, and whether the file
// consists of what konto creates. It changes nothing. Its errors say what does not fit:
// sqlitefile.ErrMalformed, sqlitefile.ErrOtherSchema, ErrOtherKeys,
// ErrOtherHistory, fs.ErrNotExist.
func (f LogFile) Fits(ctx context.Context) error {
	db, err := sqlitefile.OpenReaders(f.Path, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := f.fits(ctx, db); err != nil {
		return fmt.Errorf("%s: %w", f.Path, sqlitefile.Explain(err))
	}
	return nil
}

func (f LogFile) fits(ctx context.Context, db *sql.DB) error {
	if err := sqlitefile.CheckSchema(ctx, db, f.statements()); err != nil {
		return err
	}
	var madeWith []byte
	var position uint64
	var event ulid.ULID
	if err := db.QueryRowContext(ctx, "SELECT keyring, position, event FROM progress").Scan(&madeWith, &position, &event); err != nil {
		return err
	}
	if !bytes.Equal(madeWith, f.Keyring) {
		return ErrOtherKeys
	}
	same, err := holds(ctx, f.Log, position, event)
	if err != nil {
		return fmt.Errorf("compare it with the log: %w", err)
	}
	if !same {
		return fmt.Errorf("%w, and is at position %d of it", ErrOtherHistory, position)
	}
	return nil
}
