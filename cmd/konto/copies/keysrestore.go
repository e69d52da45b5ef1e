package copies

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/eventstore/sqlite"
)

// RestoreKeys replaces the keys of a locked folder by a copy, and returns where the old keys
// are now.
func RestoreKeys(ctx context.Context, folder, file string) (aside string, err error) {
	if datafolder.Missing(filepath.Join(folder, "log.db")) {
		return "", fmt.Errorf("there is no log.db in %s that has to fit; konto restore --keys puts both there", folder)
	}
	staged, err := datafolder.StageIncoming(folder)
	if err != nil {
		return "", err
	}
	if err := replaceKeys(ctx, folder, staged, file); err != nil {
		return "", errors.Join(err, os.RemoveAll(staged))
	}
	return datafolder.CommitIncoming(folder, time.Now())
}

// replaceKeys stages the copy and checks that it fits the log.
func replaceKeys(ctx context.Context, folder, staged, file string) (err error) {
	master, keys := datafolder.MasterOf(folder), filepath.Join(staged, "keys.db")
	if err := stageKeys(ctx, master, file, keys); err != nil {
		return err
	}
	log, err := sqlite.Open(ctx, filepath.Join(folder, "log.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if err := checkKeys(ctx, master, keys, log); err != nil {
		return &ofCopy{fmt.Errorf("%s does not fit the log: %w", file, err), keys, file}
	}
	// If the old file can be opened, this leaves it without a write-ahead log, so that it can
	// be put back.
	if old, err := master.OpenCopy(ctx, filepath.Join(folder, "keys.db")); err == nil {
		return old.Close()
	}
	return ctx.Err()
}
