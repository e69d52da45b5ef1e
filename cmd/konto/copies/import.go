package copies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/eventstore"
	"konto/eventstore/sqlite"
	"konto/eventstore/transfer"
)

// Import makes the log of a locked folder from an export, and returns the end of the export. It
// makes the log beside its place first.
func Import(ctx context.Context, folder string, from *transfer.Reader, progress Progress) (end transfer.End, err error) {
	if err := checkPlace(folder, from.Header().Encrypted); err != nil {
		return end, err
	}
	madeMaster := datafolder.Missing(filepath.Join(folder, "master.key"))
	staged, err := datafolder.StageIncoming(folder)
	if err != nil {
		return end, err
	}
	if end, err = stageImport(ctx, folder, staged, from, progress); err != nil {
		if madeMaster {
			err = errors.Join(err, os.RemoveAll(filepath.Join(folder, "master.key")))
		}
		return end, errors.Join(err, os.RemoveAll(staged))
	}
	_, err = datafolder.CommitIncoming(folder, time.Now())
	return end, err
}

// checkPlace refuses a folder in which something would be replaced.
func checkPlace(folder string, encrypted bool) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == name })
	}
	if encrypted {
		if has("log.db") {
			return fmt.Errorf("there is a log in %s already", folder)
		}
		if !has("keys.db") {
			return fmt.Errorf("the export is encrypted: put the keys.db of its log, with its master key, into %s", folder)
		}
		return nil
	}
	if has("log.db") || has("keys.db") {
		return fmt.Errorf("there is a log in %s already, or its keys", folder)
	}
	for _, e := range entries {
		switch e.Name() {
		case "master.key", erasure.LedgerName, datafolder.HolderName, "lost+found":
		default:
			return fmt.Errorf("%s is not empty: %s is in it", folder, e.Name())
		}
	}
	return nil
}

// stageImport fills the staged log, checks it, and closes it.
func stageImport(ctx context.Context, folder, staged string, from *transfer.Reader, progress Progress) (end transfer.End, err error) {
	place := staged // where keys.db is
	if from.Header().Encrypted {
		place = folder
	}
	master := datafolder.MasterOf(folder)
	if _, err := master.Load(!from.Header().Encrypted); err != nil {
		return end, err
	}
	keys, err := master.Open(ctx, filepath.Join(place, "keys.db"))
	if err != nil {
		return end, err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	path := filepath.Join(staged, "log.db")
	if end, err = fillLog(ctx, path, keys, from, progress); err != nil {
		return end, err
	}
	found, err := sqlite.Inspect(ctx, path, progress)
	if err != nil {
		return end, err
	}
	return end, compare(found, end, from)
}

// compare compares an imported log with the last line of the export.
func compare(found eventstore.Extent, end transfer.End, from *transfer.Reader) error {
	if found.Position != end.Events || from.Header().Encrypted && end.Events > 0 && !bytes.Equal(found.Chain[:], end.Chain) {
		return transfer.ErrOtherLog
	}
	return nil
}

func fillLog(ctx context.Context, path string, keys eventstore.KeyStore, from *transfer.Reader, progress Progress) (end transfer.End, err error) {
	log, err := sqlite.Open(ctx, path)
	if err != nil {
		return end, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return fill(ctx, log, keys, from, progress)
}

// fill binds keys and a log to each other, and imports.
func fill(ctx context.Context, log eventstore.AdminLog, keys Keys, from *transfer.Reader, progress Progress) (end transfer.End, err error) {
	if from.Header().Encrypted {
		if err := log.Adopt(ctx, from.Header().Log); err != nil {
			return end, err
		}
	}
	id, err := log.ID(ctx)
	if err != nil {
		return end, err
	}
	if err := keys.Bind(ctx, id, !from.Header().Encrypted); err != nil {
		return end, err
	}
	return transfer.Import(ctx, from, transfer.Target{
		Log: log, Store: eventstore.NewStore(log, keys), Keys: keys, Progress: progress,
	})
}
