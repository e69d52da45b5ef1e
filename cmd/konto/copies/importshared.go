package copies

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/eventstore/keyring"
	"konto/eventstore/postgres"
	"konto/eventstore/sqlitefile"
	"konto/eventstore/transfer"
)

// ImportLease is the lease whose holder imports.
const ImportLease = "import"

// SharedImport is an import into a log that several machines share.
type SharedImport struct {
	To     datafolder.Postgres
	Master keyring.Master // of the keys in Postgres
	From   *transfer.Reader
	// Keys is the file with the keys of an encrypted export, "" for an export in clear. It stays as
	// it is. Its master key is KONTO_MASTER_KEY or master.key beside it.
	Keys string
	// Erasures is the ledger of erasures that belongs to the export. Unless it is given, it is
	// erasures.ndjson beside Keys, if there is one.
	Erasures string
	Holder   string // of the lease, as others see it
	Progress Progress
}

// Moved describes an import into a log that several machines share.
type Moved struct {
	End      transfer.End
	Keys     uint64 // that were copied, with those that are destroyed and the store's own
	Erasures int    // lines of the ledger
	NoLedger bool   // keys were copied, and no ledger was found beside them
}

var (
	errNeedsKeys = errors.New("the export is encrypted: give the keys.db of its log with --keys")
	errNeedsNone = errors.New("the export is in clear and gets new keys: leave --keys out")
)

// Run imports. Nothing else may use the log or the keys: live nodes are an error, and the next
// import waits for this one. After an error in the middle no node opens the log until the import
// is repeated.
func (i SharedImport) Run(ctx context.Context) (done Moved, err error) {
	switch encrypted := i.From.Header().Encrypted; {
	case encrypted && i.Keys == "":
		return done, errNeedsKeys
	case !encrypted && i.Keys != "":
		return done, errNeedsNone
	case encrypted:
		err = withKeys(ctx, i.Keys, func(keys *keyring.Keyring) error {
			if err := keys.Bind(ctx, i.From.Header().Log, false); err != nil {
				return err
			}
			done, err = i.run(ctx, keys)
			return err
		})
		return done, err
	}
	return i.run(ctx, nil)
}

// run imports with the keys of an encrypted export, or nil.
func (i SharedImport) run(ctx context.Context, from *keyring.Keyring) (done Moved, err error) {
	lines, found, err := i.ledger()
	if err != nil {
		return done, err
	}
	done.NoLedger = from != nil && !found
	// Before anything is changed in Postgres.
	if _, err := i.Master.Load(false); err != nil {
		return done, err
	}
	db, err := i.To.OpenStore(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return done, err
	}
	defer db.Close()
	err = db.HoldLease(ctx, ImportLease, i.Holder, func(ctx context.Context, _ postgres.Lease) error {
		return i.fill(ctx, db, from, lines, &done)
	})
	return done, err
}

func (i SharedImport) fill(ctx context.Context, db *postgres.Database, from *keyring.Keyring, lines []erasure.Line, done *Moved) (err error) {
	logDB, err := i.To.OpenStore(ctx, slog.New(slog.DiscardHandler)) // the log closes it, and the lease must be released
	if err != nil {
		return err
	}
	log, err := postgres.OpenImport(ctx, logDB)
	if err != nil {
		logDB.Close()
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	keysDB, err := i.To.OpenKeyStore(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer keysDB.Close()
	keys, err := postgres.OpenKeys(ctx, keysDB, i.Master)
	if err != nil {
		return err
	}
	if from != nil {
		if err := i.refuseForeign(ctx, log, keys); err != nil {
			return err
		}
		if done.Keys, err = ImportKeys(ctx, from, keys); err != nil {
			return err
		}
	}
	// Before the log can be opened: whoever opens it must know of all erasures.
	if len(lines) > 0 {
		ledger, err := erasure.OpenShared(ctx, db, i.Holder, keys)
		if err != nil {
			return err
		}
		if err := ledger.Import(ctx, lines); err != nil {
			return err
		}
		done.Erasures = len(lines)
	}
	done.End, err = ImportInto(ctx, log, keys, i.From, i.Progress)
	return err
}

// refuseForeign returns an error if the store of keys is bound to a log that is neither the one in
// Postgres, which is empty, nor the one that is imported.
func (i SharedImport) refuseForeign(ctx context.Context, log *postgres.Log, keys *postgres.Keys) error {
	id, err := log.ID(ctx)
	if err != nil {
		return err
	}
	bound, err := keys.Bound(ctx)
	if err != nil || !bound {
		return err
	}
	err = keys.Bind(ctx, id, false)
	if errors.Is(err, keyring.ErrOtherLog) {
		err = keys.Bind(ctx, i.From.Header().Log, false)
	}
	return err
}

// ledger returns the line that counts of each account. An export in clear gets other keys, with
// which the proofs do not fit: its accounts are erased and proven again.
func (i SharedImport) ledger() (lines []erasure.Line, found bool, err error) {
	path := i.Erasures
	if path == "" && i.Keys != "" {
		path = filepath.Join(filepath.Dir(i.Keys), erasure.LedgerName)
		if datafolder.Missing(path) {
			return nil, false, nil
		}
	}
	if path == "" {
		return nil, false, nil
	}
	if _, err := os.Stat(path); err != nil {
		return nil, false, err
	}
	all, _, err := erasure.ReadLedger(path)
	if err != nil {
		return nil, false, err
	}
	return erasure.Latest(all, i.From.Header().Encrypted), true, nil
}

// withKeys calls do with a copy of a file of keys, which is deleted afterwards: even opening a file
// lets SQLite change it.
func withKeys(ctx context.Context, file string, do func(*keyring.Keyring) error) error {
	if err := refuseInUse(file); err != nil {
		return err
	}
	return sqlitefile.Try(ctx, file, func(copied string) error {
		master := datafolder.MasterOf(filepath.Dir(file))
		keys, err := master.OpenCopy(ctx, copied)
		if errors.Is(err, keyring.ErrWrongMaster) && master.Given != "" && !datafolder.Missing(master.Path) {
			master.Given = "" // KONTO_MASTER_KEY is that of the keys in Postgres
			keys, err = master.OpenCopy(ctx, copied)
		}
		if err != nil {
			return &copyError{err, copied, file}
		}
		if err := errors.Join(do(keys), keys.Close()); err != nil {
			return &copyError{err, copied, file}
		}
		return nil
	})
}
