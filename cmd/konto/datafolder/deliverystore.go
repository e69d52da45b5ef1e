package datafolder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"konto/eventstore/sqlitefile"
	"konto/projections/deliveries"
)

// openLedger opens deliveries.db, or where it is damaged a new one: nobody who
// writes to an account or reads it depends on the file, so it must not stand in
// their way. Deliveries then go on from the checkpoints in the log.
func openLedger(ctx context.Context, cfg deliveries.StoreConfig, warn func(string)) (*deliveries.Store, error) {
	l, err := deliveries.OpenStore(ctx, cfg)
	if !errors.Is(err, sqlitefile.ErrMalformed) {
		return l, err
	}
	aside := cfg.Path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	// The file itself goes last. Were it gone first and the process killed then,
	// what is left of its write-ahead log would be played into the new one.
	for _, part := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(cfg.Path+part, aside+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("set a damaged file aside: %w", err)
		}
	}
	warn(cfg.Path + " is damaged and was renamed to " + filepath.Base(aside) + "; third parties are told again of what followed the last checkpoints")
	return deliveries.OpenStore(ctx, cfg)
}
