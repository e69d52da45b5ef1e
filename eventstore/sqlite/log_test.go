package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"konto/eventstore"
	"konto/eventstore/eventstoretest"
	"konto/eventstore/sqlitefile"
)

func TestLog(t *testing.T) {
	eventstoretest.Run(t, eventstoretest.Backend{
		Open: func(t testing.TB) eventstore.Log { return open(t, filepath.Join(t.TempDir(), "log.db")) },
		// Only one process writes to the file, so a second node has the same log.
		OpenAnother: func(_ testing.TB, log eventstore.Log) eventstore.Log { return log },
		Reopen: func(t testing.TB, closed eventstore.Log) eventstore.Log {
			return open(t, closed.(*Log).path)
		},
		Admin: &eventstoretest.Admin{
			OpenCopy: func(ctx context.Context, path string) (eventstore.AdminLog, error) { return Open(ctx, path) },
			Change: func(ctx context.Context, log eventstore.AdminLog, position uint64, r *eventstore.Record) error {
				return change(ctx, log.(*Log).path, position, r)
			},
		},
	})
}

// change changes a record, or removes it if r is nil. It drops the triggers meanwhile.
func change(ctx context.Context, path string, position uint64, r *eventstore.Record) error {
	db, err := sqlitefile.OpenWriter(path)
	if err != nil {
		return err
	}
	defer db.Close()
	_, triggers, _ := strings.Cut(schema, "CREATE TRIGGER")
	if _, err := db.ExecContext(ctx, strings.Join(unguarded, ";")); err != nil {
		return err
	}
	if r == nil {
		_, err = db.ExecContext(ctx, "DELETE FROM events WHERE position = ?", position)
	} else {
		_, err = db.ExecContext(ctx, `UPDATE events SET stream = ?, version = ?, id = ?, type = ?, time = ?, metadata = ?, data = ?
			WHERE position = ?`, r.Stream, r.Version, r.ID[:], r.Type, r.Time.UnixMilli(), r.Metadata, r.Data, position)
	}
	_, guarded := db.ExecContext(ctx, "CREATE TRIGGER"+triggers)
	return errors.Join(err, guarded)
}

// open opens a log that is closed when the test ends.
func open(t testing.TB, path string) *Log {
	t.Helper()
	log, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return log
}
