package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"konto/eventstore/sqlitefile"
)

// limited opens a log whose checkpointer begins at a few pages.
func limited(t *testing.T, pages int) *Log {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	log.checkpointer.mu.Lock()
	defer log.checkpointer.mu.Unlock()
	log.checkpointer.limit = pages
	return log
}

func pages(t *testing.T, log *Log) int {
	t.Helper()
	log.checkpointer.mu.Lock()
	defer log.checkpointer.mu.Unlock()
	n, err := log.checkpointer.pages()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// told blocks until the writer has been told to move the rest.
func told(log *Log) {
	for !log.writer.finish.Load() {
		runtime.Gosched()
	}
}

// alone opens a copy of the file without its write-ahead log, and returns its head.
func alone(t *testing.T, log *Log) uint64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.db")
	data, err := os.ReadFile(log.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	head, err := open(t, path).Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func TestCommitsMoveNoPages(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	var limit int
	if err := log.writer.db.QueryRow("PRAGMA wal_autocheckpoint").Scan(&limit); err != nil || limit != 0 {
		t.Errorf("commits move pages from %d on, %v", limit, err)
	}
}

// TestWriteAheadLogBeginsAnew: what is written moves it into the file, and the next
// commits use its room again.
func TestWriteAheadLogBeginsAnew(t *testing.T) {
	const limit = 50
	log := limited(t, limit)
	mustAppend(t, log, newBatch(lookEvery-1))
	if n := pages(t, log); n < limit {
		t.Fatalf("%d pages are not enough for this test", n)
	}
	if log.writer.finish.Load() {
		t.Fatal("pages were moved before anyone looked")
	}
	mustAppend(t, log, newBatch(1)) // the look
	told(log)
	if head := alone(t, log); head != lookEvery {
		t.Errorf("the file alone goes to %d", head)
	}
	mustAppend(t, log, newBatch(1)) // moves the rest, then begins anew
	if n := pages(t, log); n >= limit {
		t.Errorf("the write-ahead log still has %d pages", n)
	}
	audit(t, reopen(t, log), lookEvery+1)
}

// TestWriterMovesTheRest: under load only it meets a moment without another commit.
func TestWriterMovesTheRest(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	mustAppend(t, log, newBatch(100))
	log.writer.finish.Store(true)
	mustAppend(t, log, newBatch(1))
	if head := alone(t, log); head != 100 || log.writer.finish.Load() {
		t.Errorf("the file alone goes to %d, not 100", head)
	}
}

// TestFewPagesStay: each move syncs the file, so it must be worth it.
func TestFewPagesStay(t *testing.T) {
	log := limited(t, 100_000)
	mustAppend(t, log, newBatch(lookEvery))
	log.checkpointer.look()
	if err := log.Close(); err != nil { // after the last look
		t.Fatal(err)
	}
	if log.writer.finish.Load() {
		t.Error("pages were moved below the limit")
	}
}

// TestLongReadsKeepPagesWhereTheyAre: what would be moved in vain is moved at once
// after a long read, and not at all after one that failed.
func TestLongReadsKeepPagesWhereTheyAre(t *testing.T) {
	log := limited(t, 100)
	failure := errors.New("read in vain")
	if err := log.readLong(t.Context(), func() error { return failure }); !errors.Is(err, failure) {
		t.Error(err)
	}
	err := log.readLong(t.Context(), func() error {
		for range 40 {
			mustAppend(t, log, newBatch(200))
		}
		if head := alone(t, log); head != 0 {
			t.Errorf("during the read pages were moved, the file alone goes to %d", head)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if head := alone(t, log); head != 8000 {
		t.Errorf("the file alone goes to %d", head)
	}
}

// TestCheckpointsThatFailAreTriedAgain: the pages stay where they are, and nothing is lost.
func TestCheckpointsThatFailAreTriedAgain(t *testing.T) {
	log := limited(t, 1)
	log.checkpointer.mu.Lock()
	if err := log.checkpointer.open(); err != nil {
		t.Fatal(err)
	}
	good := log.checkpointer.db
	broken, err := sqlitefile.OpenCheckpointer(log.path)
	if err != nil {
		t.Fatal(err)
	}
	broken.Close()
	log.checkpointer.db = broken
	log.checkpointer.mu.Unlock()
	mustAppend(t, log, newBatch(lookEvery-1)) // one less than the checkpointer looks at by itself, at a time of its own
	err = log.readLong(t.Context(), func() error { return nil })
	if err == nil {
		t.Error("a checkpoint on a closed connection succeeded")
	}
	log.checkpointer.mu.Lock()
	log.checkpointer.db = good
	log.checkpointer.mu.Unlock()
	mustAppend(t, log, newBatch(lookEvery+1))
	told(log)
	if head := alone(t, log); head != 2*lookEvery {
		t.Errorf("the file alone goes to %d", head)
	}
}

// TestFileIsSyncedBeforeTheWriterMovesTheRest: else the writer would sync what the
// checkpointer moved, and all who append would wait for it.
func TestFileIsSyncedBeforeTheWriterMovesTheRest(t *testing.T) {
	log := limited(t, 1)
	log.checkpointer.mu.Lock()
	if err := log.checkpointer.open(); err != nil {
		t.Fatal(err)
	}
	good := log.checkpointer.file
	broken, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	if err != nil {
		t.Fatal(err)
	}
	broken.Close()
	log.checkpointer.file = broken
	log.checkpointer.mu.Unlock()
	mustAppend(t, log, newBatch(lookEvery))
	if err := log.readLong(t.Context(), func() error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a file that cannot be synced: %v", err)
	}
	if log.writer.finish.Load() {
		t.Error("the writer was told of pages that are not synced")
	}
	log.checkpointer.mu.Lock()
	log.checkpointer.file = good
	log.checkpointer.mu.Unlock()
	mustAppend(t, log, newBatch(lookEvery))
	told(log)
}
