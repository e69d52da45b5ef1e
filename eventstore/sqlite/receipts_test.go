package sqlite

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// TestExpiredReceiptsAreDeletedAFewAtATime: no append may wait until all are deleted.
func TestExpiredReceiptsAreDeletedAFewAtATime(t *testing.T) {
	const expired = 200
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	now := time.Now().UTC().Truncate(time.Millisecond)
	b := newBatch(1)
	for i := range byte(expired) {
		b.Receipts = append(b.Receipts, eventstore.Receipt{Key: eventstore.ReceiptKey{i}, Expires: now.Add(time.Hour)})
	}
	kept := newBatch(1)
	kept.Receipts = []eventstore.Receipt{{Key: eventstore.ReceiptKey{255}, Expires: now.Add(time.Hour)}}
	mustAppend(t, log, b)
	mustAppend(t, log, kept)
	if got := receipts(t, log); got != expired+1 {
		t.Fatalf("%d receipts, want %d", got, expired+1)
	}
	log.Close()
	if err := raw(t, log.path, "UPDATE receipts SET expires = 1 WHERE hex(key) NOT LIKE 'FF%'"); err != nil {
		t.Fatal(err)
	}
	log = open(t, log.path)
	for left := expired; left > 0; {
		mustAppend(t, log, newBatch(1))
		left = max(0, left-expiredLimit)
		if got := receipts(t, log); got != left+1 {
			t.Fatalf("%d receipts after an append, want %d", got, left+1)
		}
	}
	if stream, _, err := log.Receipt(t.Context(), eventstore.ReceiptKey{255}); err != nil || stream != kept.Stream {
		t.Errorf("the receipt that has not expired is of %q, %v", stream, err)
	}
}

// Store.TryAppend relies on it: a receipt of 1970 is stored and deleted in one transaction, even if
// others are due.
func TestReceiptThatExpiredLongAgoIsNotKept(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	others := newBatch(1)
	for i := range byte(100) {
		others.Receipts = append(others.Receipts, eventstore.Receipt{Key: eventstore.ReceiptKey{i}, Expires: time.UnixMilli(1).UTC()})
	}
	mustAppend(t, log, others)
	if _, err := log.Append(t.Context(), eventstore.Batch{
		Stream: "try", Receipts: []eventstore.Receipt{{Key: eventstore.ReceiptKey{255}, Expires: time.UnixMilli(0).UTC()}},
	}); err != nil {
		t.Fatal(err)
	}
	db, err := sqlitefile.OpenReaders(log.path, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	kept := 0
	if err := db.QueryRow("SELECT count(*) FROM receipts WHERE hex(key) LIKE 'FF%'").Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d are kept, %v", kept, err)
	}
}

func TestExpiredReceiptsHaveNoEffectBeforeTheyAreDeleted(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	b := newBatch(1)
	b.Receipts = []eventstore.Receipt{{Expires: time.Now().UTC().Truncate(time.Millisecond).Add(time.Hour)}}
	mustAppend(t, log, b)
	log.Close()
	if err := raw(t, log.path, "UPDATE receipts SET expires = 1"); err != nil {
		t.Fatal(err)
	}
	log = open(t, log.path)
	if stream, _, err := log.Receipt(t.Context(), eventstore.ReceiptKey{}); err != nil || stream != "" {
		t.Errorf("read as %q, %v", stream, err)
	}
	again := newBatch(1)
	again.Receipts = b.Receipts
	mustAppend(t, log, again)
	if stream, _, err := log.Receipt(t.Context(), eventstore.ReceiptKey{}); err != nil || stream != again.Stream {
		t.Errorf("left again, read as %q, %v", stream, err)
	}
}

// TestReceiptsDoNotPileUp: a transaction deletes more receipts than it stores.
func TestReceiptsDoNotPileUp(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	long := time.UnixMilli(1).UTC()
	for i := range byte(10) {
		b := newBatch(1)
		for j := range byte(50) {
			b.Receipts = append(b.Receipts, eventstore.Receipt{Key: eventstore.ReceiptKey{i, j}, Expires: long})
		}
		mustAppend(t, log, b)
		if got := receipts(t, log); got != 0 {
			t.Fatalf("%d receipts that have expired are left", got)
		}
	}
}

func receipts(t *testing.T, log *Log) (count int) {
	t.Helper()
	if err := log.readers.QueryRowContext(t.Context(), "SELECT count(*) FROM receipts").Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

// TestIndexOfReceiptsIsAddedToOlderFiles: without the index, an erasure would read all receipts
// while every append waits.
func TestIndexOfReceiptsIsAddedToOlderFiles(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	mustAppend(t, log, newBatch(1))
	log.Close()
	if err := raw(t, log.path, "DROP INDEX receipts_by_stream"); err != nil {
		t.Fatal(err)
	}
	log = open(t, log.path)
	rows, err := log.readers.Query("EXPLAIN QUERY PLAN DELETE FROM receipts WHERE stream = 'account-1'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var id, parent, unused int
	var plan string
	if !rows.Next() || rows.Scan(&id, &parent, &unused, &plan) != nil || !strings.Contains(plan, "receipts_by_stream") {
		t.Errorf("receipts of one stream are found by %q", plan)
	}
}

// TestReceiptsOfAFailedCommitExpireToo: they may be stored in spite of the error.
func TestReceiptsOfAFailedCommitExpireToo(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	mustAppend(t, log, newBatch(1)) // which finds that nothing is due
	log.writer.commit = func(tx *sql.Tx) error { return errors.Join(errors.New("the disk is gone"), tx.Commit()) }
	lost := newBatch(1)
	for i := range byte(expiredLimit + 5) {
		lost.Receipts = append(lost.Receipts, eventstore.Receipt{Key: eventstore.ReceiptKey{i}, Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)})
	}
	if _, err := log.Append(t.Context(), lost); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	log.writer.commit = (*sql.Tx).Commit
	if err := raw(t, log.path, "UPDATE receipts SET expires = 1"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, newBatch(1))
	if got := receipts(t, log); got != 5 {
		t.Errorf("%d receipts are left, want 5", got)
	}
}
