package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"konto/eventstore/sqlitefile"
)

// limited opens a log whose checkpointer moves fewer pages than usual.
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

// waitUntilAsked blocks until the writer is asked to move the rest.
func waitUntilAsked(log *Log) {
	for !log.writer.finish.Load() {
		runtime.Gosched()
	}
}

// headOfFile returns the head of the file without its write-ahead log.
func headOfFile(t *testing.T, log *Log) uint64 {
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

// TestWriteAheadLogIsReused expects that pages are moved into the file, and that later commits
// overwrite the write-ahead log.
func TestWriteAheadLogIsReused(t *testing.T) {
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
	waitUntilAsked(log)
	if head := headOfFile(t, log); head != lookEvery {
		t.Errorf("the file alone goes to %d", head)
	}
	mustAppend(t, log, newBatch(1)) // moves the rest, then restarts it
	if n := pages(t, log); n >= limit {
		t.Errorf("the write-ahead log still has %d pages", n)
	}
	audit(t, reopen(t, log), lookEvery+1)
}

// TestWriterMovesTheRest: under load there is no other moment without a commit.
func TestWriterMovesTheRest(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	mustAppend(t, log, newBatch(100))
	log.writer.finish.Store(true)
	mustAppend(t, log, newBatch(1))
	if head := headOfFile(t, log); head != 100 || log.writer.finish.Load() {
		t.Errorf("the file alone goes to %d, not 100", head)
	}
}

// TestFewPagesAreNotMoved: each move syncs the file, so it must be worth the cost.
func TestFewPagesAreNotMoved(t *testing.T) {
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

// TestPagesAreNotMovedDuringLongReads expects that pages are moved after a long read, and are not
// moved after a read that failed.
func TestPagesAreNotMovedDuringLongReads(t *testing.T) {
	log := limited(t, 100)
	failure := errors.New("read in vain")
	if err := log.readLong(t.Context(), func() error { return failure }); !errors.Is(err, failure) {
		t.Error(err)
	}
	err := log.readLong(t.Context(), func() error {
		for range 40 {
			mustAppend(t, log, newBatch(200))
		}
		if head := headOfFile(t, log); head != 0 {
			t.Errorf("during the read pages were moved, the file alone goes to %d", head)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if head := headOfFile(t, log); head != 8000 {
		t.Errorf("the file alone goes to %d", head)
	}
}

// TestCheckpointsThatFailAreTriedAgain: the pages stay in the write-ahead log meanwhile.
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
	waitUntilAsked(log)
	if head := headOfFile(t, log); head != 2*lookEvery {
		t.Errorf("the file alone goes to %d", head)
	}
}

// TestFileIsSyncedBeforeTheWriterMovesTheRest: otherwise the writer would sync the pages that the
// checkpointer moved, and every append would wait.
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
		t.Error("the writer was asked to move pages that are not synced")
	}
	log.checkpointer.mu.Lock()
	log.checkpointer.file = good
	log.checkpointer.mu.Unlock()
	mustAppend(t, log, newBatch(lookEvery))
	waitUntilAsked(log)
}
