package sqlitefile

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
)

// checkpointerPragmas are for a connection that moves a write-ahead log into its file.
//
// synchronous: pages that are overwritten in the file must be durable in the log.
const checkpointerPragmas = `
	PRAGMA busy_timeout = 10000;
	PRAGMA synchronous = FULL;
	PRAGMA wal_autocheckpoint = 0;`

// Checkpoint moves as many pages of the write-ahead log as possible into the file. It waits for
// nobody, and no commit waits for it.
func Checkpoint(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
	return Explain(err)
}

// LogPages returns the length of the write-ahead log in pages, moved ones included.
func LogPages(ctx context.Context, db *sql.DB) (pages int, err error) {
	var busy, moved int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &pages, &moved); err != nil {
		return 0, Explain(err)
	}
	return pages, nil
}

// OpenCheckpointer opens an existing file for Checkpoint, while a writer has it open.
func OpenCheckpointer(path string) (*sql.DB, error) {
	db, err := open(path, url.Values{"mode": {"rw"}}, checkpointerPragmas)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// CheckpointPages is the length of the write-ahead log, in pages, from which a commit moves them
// into the file, unless SetCheckpoints changes it.
const CheckpointPages = 20_000

// SetCheckpoints sets this length for a writer. With 0, commits move no pages.
func SetCheckpoints(writer *sql.DB, pages int) error {
	_, err := writer.Exec(fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", pages))
	return Explain(err)
}
