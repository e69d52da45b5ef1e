package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/events"
	"konto/eventstore"
)

var errInterrupted = errors.New("interrupted")

func TestInterruptedRebuildLeavesTheOldOne(t *testing.T) {
	for _, unit := range []string{"events folded", "rows compared"} {
		t.Run(unit, func(t *testing.T) {
			h := newFixture(t)
			fillSample(h)
			before, old := h.dump(), h.opened()
			ctx, cancel := context.WithCancelCause(t.Context())
			copied := t.TempDir()
			_, err := h.model.Rebuild(ctx, RebuildConfig{Progress: func(_, _ uint64, now string) {
				if now == unit && ctx.Err() == nil {
					copyFiles(t, h.dir, copied) // as a kill leaves them
					cancel(errInterrupted)
				}
			}})
			if !errors.Is(err, errInterrupted) {
				t.Errorf("ended with %v", err)
			}
			if !os.SameFile(old, h.opened()) || h.dump() != before {
				t.Error("the old one is not in use any more")
			}
			h.onlyReadDB()

			if !exists(filepath.Join(copied, "read.db.next")) {
				t.Error("the kill came too early")
			}
			h.must(h.model.Close())
			h.dir = copied
			h.openModel()
			if h.dump() != before {
				t.Error("after a kill the old one is not in use any more")
			}
			h.onlyReadDB()
		})
	}
}

func TestCloseEndsARebuild(t *testing.T) {
	h := newFixture(t)
	fillSample(h)
	closed := make(chan error, 1)
	_, err := h.model.Rebuild(t.Context(), RebuildConfig{Progress: func(_, _ uint64, unit string) {
		if unit == "events folded" && len(closed) == 0 {
			go func() { closed <- h.model.Close() }()
			<-h.model.closing
		}
	}})
	if !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
	h.must(<-closed)
	h.onlyReadDB()
}

// An old file that another program has open keeps its write-ahead log, which
// would be played into the new one.
func TestFileThatAnotherProgramHasOpenIsNotReplaced(t *testing.T) {
	h := newFixture(t)
	fillSample(h)
	before := h.dump()
	other, err := sql.Open("sqlite3", h.path())
	h.must(err)
	defer other.Close()
	tx, err := other.Begin()
	h.must(err)
	var n int
	h.must(tx.QueryRow("SELECT count(*) FROM account").Scan(&n))
	if _, err := h.model.Rebuild(t.Context(), RebuildConfig{}); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("ended with %v", err)
	}
	if h.dump() != before {
		t.Error("the old one does not answer any more")
	}
	h.must(tx.Rollback())
	h.must(other.Close())
	h.rebuilt(RebuildConfig{})
	if h.dump() != before {
		t.Error("the new one says something else")
	}
}

func TestEventThatCannotBeFoldedEndsTheRebuild(t *testing.T) {
	h := newFixture(t)
	ids := fillSample(h)
	bad := h.poison(events.AccountStream(ids[30]), 31, "ProfileUpdated.v1", `{"firstName":7}`)
	_, err := h.model.file.writer.Exec("UPDATE progress SET position = ?, event = ?", bad, h.all(bad - 1)[0].ID[:])
	h.must(err)
	_, err = h.model.Rebuild(t.Context(), RebuildConfig{})
	if !errors.Is(err, events.ErrMisfit) || !strings.Contains(err.Error(), fmt.Sprintf("ProfileUpdated.v1 at position %d", bad)) {
		t.Errorf("ended with %v", err)
	}
	h.onlyReadDB()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	files, err := os.ReadDir(from)
	must(t, err)
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "read.db") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, f.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, f.Name()), data, 0o600))
	}
}
