package sqlite

import (
	"path/filepath"
	"testing"

	"konto/eventstore"
	"konto/eventstore/eventstoretest"
)

func TestLog(t *testing.T) {
	eventstoretest.Run(t, eventstoretest.Backend{
		Open: func(t testing.TB) eventstore.Log { return open(t, filepath.Join(t.TempDir(), "log.db")) },
		// Only one process writes to the file, so a second node has the same log.
		OpenAnother: func(_ testing.TB, log eventstore.Log) eventstore.Log { return log },
		Reopen: func(t testing.TB, closed eventstore.Log) eventstore.Log {
			return open(t, closed.(*Log).path)
		},
	})
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
