package sqlite

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestCheckEndLooksAtTheLastRecordsOnly(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	mustAppend(t, log, newBatch(20))
	for _, n := range []uint64{0, 1, 10, 20, 100} {
		if err := log.CheckEnd(t.Context(), n); err != nil {
			t.Errorf("the last %d: %v", n, err)
		}
	}
	if err := raw(t, log.path, append(unguarded, "UPDATE events SET time = time + 1 WHERE position = 15")...); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[uint64]uint64{5: 0, 6: 15, 20: 15} {
		var broken *ChainError
		err := log.CheckEnd(t.Context(), n)
		if want == 0 && err != nil || want > 0 && (!errors.As(err, &broken) || broken.DamagedAt() != want) {
			t.Errorf("the last %d: %v, want a chain broken at %d", n, err, want)
		}
	}
}
