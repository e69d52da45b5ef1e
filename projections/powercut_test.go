package projections

import (
	"os"
	"path/filepath"
	"testing"
)

// A power cut takes what was not synced of the write-ahead log: its end, or pages
// of it while later ones came to the disk.
func TestReadModelGoesOnAfterAPowerCut(t *testing.T) {
	h := newFixture(t)
	ids := h.history()
	h.apply(5)
	file, err := os.ReadFile(h.path())
	h.must(err)
	log, err := os.ReadFile(h.path() + "-wal")
	h.must(err)
	const page = 4096
	if len(log) < 20*page {
		t.Fatalf("the write-ahead log has %d bytes", len(log))
	}
	whole := h.position()
	positions := map[uint64]bool{}
	for lost := 0; lost < len(log); lost += 3*page + 100 {
		cut := log[:lost]
		hole := append(append(log[:lost:lost], make([]byte, min(page, len(log)-lost))...), log[min(lost+page, len(log)):]...)
		for name, left := range map[string][]byte{"its end": cut, "a page": hole} {
			after := *h
			after.dir = t.TempDir()
			h.must(os.WriteFile(filepath.Join(after.dir, "read.db"), file, 0o600))
			h.must(os.WriteFile(filepath.Join(after.dir, "read.db-wal"), left, 0o600))
			after.openModel()
			position := after.position()
			if positions[position] = true; position > whole {
				t.Fatalf("%s from %d on: at position %d of %d", name, lost, position, whole)
			}
			after.apply(5)
			after.checkFolds(ids)
			after.clearCaches()
			after.checkFolds(ids)
			h.must(after.model.Close())
		}
	}
	if len(positions) < 3 {
		t.Errorf("it was at %d positions only", len(positions))
	}
}

// How commits are synced, as PRAGMA synchronous answers.
const (
	syncedCheckpoints = 1
	syncedCommits     = 2
)

func (h *fixture) synchronous() (n int) {
	h.t.Helper()
	h.must(h.model.file.writer.QueryRow("PRAGMA synchronous").Scan(&n))
	return n
}

func TestCursorsAreSyncedAndRowsAreNot(t *testing.T) {
	h := newFixture(t)
	if n := h.synchronous(); n != syncedCheckpoints {
		t.Errorf("opened with synchronous = %d", n)
	}
	_, err := h.model.file.writer.Exec(`CREATE TEMP TABLE seen (synchronous);
		CREATE TEMP TRIGGER cursors AFTER INSERT ON main.cursor BEGIN INSERT INTO seen SELECT synchronous FROM pragma_synchronous; END;
		CREATE TEMP TRIGGER rows AFTER INSERT ON main.account BEGIN INSERT INTO seen SELECT synchronous FROM pragma_synchronous; END`)
	h.must(err)
	expect := func(want int) {
		t.Helper()
		var n int
		h.must(h.model.file.writer.QueryRow("SELECT synchronous FROM seen ORDER BY rowid DESC").Scan(&n))
		if n != want {
			t.Errorf("it was stored with synchronous = %d, not %d", n, want)
		}
	}
	h.must(h.model.SetCursor(t.Context(), "publisher", []byte("1")))
	expect(syncedCommits)
	h.openAccount("a@example.com")
	h.apply(1)
	expect(syncedCheckpoints)

	h.rebuilt(RebuildConfig{})
	if n := h.synchronous(); n != syncedCheckpoints {
		t.Errorf("a rebuilt one has synchronous = %d", n)
	}
}
