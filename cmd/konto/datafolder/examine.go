package datafolder

import (
	"context"
	"errors"
	"path/filepath"

	"konto/cmd/konto/erasure"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
	"konto/projections"
	"konto/projections/deliveries"
	"konto/projections/verify"
	"konto/projections/webhook"
)

// Files returns a check for each file of the folder, and for each part of a log in Postgres, that
// can be checked on its own.
func (f *Folder) Files() []verify.File {
	model := verify.File{Name: "read.db", Check: func(ctx context.Context) error {
		return projections.CheckReadModel(ctx, f.file("read.db"), f.Log, f.Keys)
	}}
	if f.Model != nil {
		model.Check = f.Model.Check
	}
	if f.DB != nil {
		return append(f.bound(),
			verify.File{Name: logInPostgres, Check: f.Log.CheckStorage},
			verify.File{Name: keysInPostgres, Check: f.Keys.Check},
			verify.File{Name: "cluster.erased", Check: f.checkShared},
			f.unlessMissing(model))
	}
	return append(f.bound(),
		verify.File{Name: "log.db", Check: f.Log.CheckStorage},
		verify.File{Name: "keys.db", Check: f.Keys.Check},
		verify.File{Name: erasure.LedgerName, Check: f.checkLedger},
		f.unlessMissing(model),
		f.unlessMissing(verify.File{Name: erasure.RowsName, Check: func(ctx context.Context) error {
			return sqlitefile.CheckIntegrity(ctx, f.file(erasure.RowsName))
		}}),
		f.unlessMissing(verify.File{Name: "deliveries.db", Check: func(ctx context.Context) error {
			return deliveries.CheckFile(ctx, deliveries.FileConfig{Path: f.file("deliveries.db"), Log: f.Log, Keys: f.Keys})
		}}))
}

// The names of what is in Postgres and not in a file.
const (
	logInPostgres  = "the log in Postgres"
	keysInPostgres = "the keys in Postgres"
)

// checkShared checks the ledger of erasures in Postgres, and reads what is left to do of them.
func (f *Folder) checkShared(ctx context.Context) error {
	shared, err := erasure.OpenShared(ctx, f.DB, "konto verify", f.Keys)
	if err != nil {
		return err
	}
	return shared.Check(ctx, webhook.TokenKey(f.Keys.Derive))
}

func (f *Folder) checkLedger(context.Context) error {
	err := erasure.CheckLedger(f.file(erasure.LedgerName), webhook.TokenKey(f.Keys.Derive))
	if err == nil && f.Erasures != nil {
		err = f.Erasures.Ledger.Whole()
	}
	return err
}

// unlessMissing lets a file be missing if a start would make it again.
func (folder *Folder) unlessMissing(f verify.File) verify.File {
	check := f.Check
	f.Check = func(ctx context.Context) error {
		if folder.DeliveryStore == nil && Missing(folder.file(f.Name)) {
			return nil
		}
		return check(ctx)
	}
	return f
}

// bound checks that the log and the keys belong together, and that the keys are not older.
func (f *Folder) bound() []verify.File {
	name := "keys.db"
	if f.DB != nil {
		name = keysInPostgres
	}
	return []verify.File{{Name: name, Check: func(ctx context.Context) error {
		id, err := f.Log.ID(ctx)
		if err != nil {
			return err
		}
		if err := f.Keys.Bind(ctx, id, false); err != nil {
			return err
		}
		err = f.checkNewestKeys(ctx)
		if errors.Is(err, eventstore.ErrNoKey) {
			return errors.New(err.Error()) // else verify would report an event, although the file is at fault
		}
		return err
	}}}
}

// PresentFiles checks that the files still exist: a file that was deleted while it is open is
// lost when the process ends.
func (f *Folder) PresentFiles() []verify.File {
	var names []string
	if f.Master.Given == "" {
		names = append(names, "master.key")
	}
	examined := f.DeliveryStore == nil // and not opened to be used
	switch {
	case f.DB != nil && !examined:
		names = append(names, "read.db")
	case f.DB == nil && examined:
		names = append(names, "log.db", "keys.db")
	case f.DB == nil:
		names = append(names, "log.db", "keys.db", "read.db", "deliveries.db", erasure.RowsName)
	}
	files := f.bound()
	for _, name := range names {
		files = append(files, verify.File{Name: name, Check: func(context.Context) error {
			if Missing(f.file(name)) {
				return errors.New("the file is missing")
			}
			return nil
		}})
	}
	return files
}

func (f *Folder) file(name string) string { return filepath.Join(f.Path, name) }

// openToExamine opens what can be opened without a change. A read model that a start would
// make again stays closed and is one of the problems.
func (f *Folder) openToExamine(ctx context.Context, cfg Config) (err error) {
	if err := f.openStore(ctx, cfg); err != nil {
		return err
	}
	path := f.file("read.db")
	if Missing(path) || projections.ReadModelFits(ctx, path, f.Log, f.Keys) != nil {
		return nil
	}
	f.Model, err = projections.OpenReadModel(ctx, path, f.Log, f.Keys)
	return err
}
