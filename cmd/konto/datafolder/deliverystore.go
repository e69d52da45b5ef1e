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

// openDeliveryStore opens deliveries.db, or a new one if the file is damaged. Nobody who reads
// or changes an account depends on this file, so it must not keep konto from starting.
// Deliveries then go on from the checkpoints in the log.
func openDeliveryStore(ctx context.Context, cfg deliveries.StoreConfig, warn func(string)) (*deliveries.Store, error) {
	l, err := deliveries.OpenStore(ctx, cfg)
	if !errors.Is(err, sqlitefile.ErrMalformed) {
		return l, err
	}
	aside := cfg.Path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	// The file itself is renamed last. If it were renamed first and the process were killed,
	// what is left of its write-ahead log would be applied to the new file.
	for _, part := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(cfg.Path+part, aside+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("set a damaged file aside: %w", err)
		}
	}
	warn(cfg.Path + " is damaged and was renamed to " + filepath.Base(aside) + "; third parties are told again of what followed the last checkpoints")
	return deliveries.OpenStore(ctx, cfg)
}
