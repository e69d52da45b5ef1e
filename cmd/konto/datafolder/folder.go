package datafolder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
	"konto/projections"
	"konto/projections/deliveries"
)

// Folder is an opened data folder, which no other process has opened.
type Folder struct {
	Path          string
	Begun         bool // there was no konto in the folder before
	lock          *os.File
	Master        keyring.Master // whose Next is this process's own, not its caller's
	Keys          *keyring.Keyring
	Log           *sqlite.Log
	Store         *eventstore.Store
	Model         *projections.ReadModel
	DeliveryStore *deliveries.Store
	Follower      *projections.Follower // of model; nil where a command examines the folder
	Accounts      *commands.Accounts
	Credentials   *commands.Credentials

	ThirdParties *commands.ThirdParties
	Erasures     *ErasureList
	erasing      sync.Mutex        // held while an account is erased
	Past         *projections.Past // the sender's
	// backingUp is held while a backup or an export is made, and while the master
	// key is exchanged; it guards master.
	Copying sync.Mutex
}

// PageSize is how many events or rows are read at once.
const PageSize = 500

// MailName is where codes are without an SMTP server, in the data folder.
const MailName = "mail"

// Config configures openHouse.
type Config struct {
	Path   string
	Holder string // who opens it, for those who find it locked
	Begin  bool   // whether to make the folder and its files where there are none
	// examine opens what is there as it is, for an examiner: log, keys, and the
	// read model if it fits them.
	Examine bool
	Log     *slog.Logger
	Warn    func(string) // is told what was mended; nil: log is
}

func (cfg Config) warning(text string) {
	switch {
	case cfg.Warn != nil:
		cfg.Warn(text)
	case cfg.Log != nil:
		cfg.Log.Warn(text)
	}
}

// Open opens a data folder. A *folderLocked tells that another process has it.
func Open(ctx context.Context, cfg Config) (*Folder, error) {
	if cfg.Begin {
		if err := Make(cfg.Path); err != nil {
			return nil, err
		}
	} else if Missing(cfg.Path) {
		return nil, noKonto(cfg.Path)
	}
	// The lock comes first: to open a file that another process writes to is
	// enough to move SQLite's own locks or start a recovery.
	lock, err := Lock(cfg.Path, cfg.Holder)
	if err != nil {
		return nil, err
	}
	h := &Folder{Path: cfg.Path, lock: lock}
	settle := settleIncoming
	if cfg.Examine {
		settle = checkSettled
	}
	if err := settle(cfg.Path); err != nil { // before any file is opened
		h.Close()
		return nil, fmt.Errorf("finish what konto restore or konto import began: %w", err)
	}
	if err := h.openFiles(ctx, cfg); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (f *Folder) openFiles(ctx context.Context, cfg Config) (err error) {
	file := func(name string) string { return filepath.Join(f.Path, name) }
	// A new master key beside existing files would hide that theirs is missing.
	f.Begun = !HoldsKonto(f.Path)
	if f.Begun && !cfg.Begin {
		return noKonto(f.Path)
	}
	f.Master = MasterOf(f.Path)
	// Before any other file is made: a first start that fails leaves none behind.
	if _, err := f.Master.Load(f.Begun); err != nil {
		return err
	}
	if cfg.Examine {
		return f.openToExamine(ctx)
	}
	if err := f.openLogAndKeys(ctx, file("log.db"), file("keys.db"), f.Master); err != nil {
		return err
	}
	if err := f.checkNewestKeys(ctx); err != nil {
		return err
	}
	if err := f.renewClaims(ctx, cfg); err != nil {
		return err
	}
	if f.Model, err = projections.OpenReadModel(ctx, file("read.db"), f.Log, f.Keys); err != nil {
		return err
	}
	ledger := deliveries.StoreConfig{Path: file("deliveries.db"), Log: f.Log, Keys: f.Keys}
	if f.DeliveryStore, err = openLedger(ctx, ledger, cfg.warning); err != nil {
		return err
	}
	f.Follower = projections.NewFollower(projections.FollowerConfig{
		Name: "read-model", Store: f.Store, Projection: f.Model, Log: cfg.Log,
	})
	f.Accounts = commands.NewAccounts(commands.Config{Store: f.Store, Snapshots: f.Model})
	f.Credentials = commands.NewCredentials(f.Store, nil)
	f.ThirdParties = commands.NewThirdParties(f.Store, nil)
	f.Past = projections.NewPast(f.Store)
	if f.Erasures, err = openErasures(f.Path); err != nil {
		return err
	}
	return f.ApplyErasures(ctx, cfg.Log, f.CatchUpAlone, nil)
}

// renewClaims makes the claims of a log anew if a konto with another rule made them, and
// tells which accounts share an address since. Nothing appends yet.
func (f *Folder) renewClaims(ctx context.Context, cfg Config) error {
	rule, err := f.Store.ClaimRule(ctx)
	if err != nil {
		return err
	}
	if rule.Number != events.ClaimRule {
		if err := f.Store.RenewClaims(ctx, nil); err != nil {
			return fmt.Errorf("make the claims of accounts anew: %w", err)
		}
	}
	shared, err := f.Store.SharedClaims(ctx)
	for _, streams := range shared {
		cfg.warning(fmt.Sprintf("%d accounts have one email address, spelled differently; each keeps it until it is given another: %v", len(streams), streams))
	}
	return err
}

// Close closes the files, and the lock after them.
func (f *Folder) Close() error {
	var errs []error
	if f.DeliveryStore != nil {
		errs = append(errs, f.DeliveryStore.Close())
	}
	if f.Model != nil {
		errs = append(errs, f.Model.Close())
	}
	if f.Log != nil {
		errs = append(errs, f.Log.Close())
	}
	if f.Keys != nil {
		errs = append(errs, f.Keys.Close())
	}
	return errors.Join(append(errs, f.lock.Close())...)
}

// Follow calls do while the read model follows the log, which it does not in a folder
// that is examined.
func (f *Folder) Follow(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	if f.Follower != nil {
		// What ends it, do met if it mattered, and said more of it.
		beside.Go(func() { f.Follower.Run(ctx) })
	}
	err := do(ctx)
	cancel()
	beside.Wait()
	return err
}

// Reader answers with accounts that are never older than what was acknowledged.
func (f *Folder) Reader() *projections.Reader {
	return &projections.Reader{Store: f.Store, Model: f.Model, Follower: f.Follower}
}

// CatchUp waits until the read model has everything that is in the log now.
func (f *Folder) CatchUp(ctx context.Context) error {
	head, err := f.Store.Head(ctx)
	if err != nil {
		return err
	}
	return f.WaitFor(ctx, head)
}

// WaitFor waits until the read model is at a position. A read model in trouble
// is an error at once: it may be in trouble for as long as a disk is full.
func (f *Folder) WaitFor(ctx context.Context, position uint64) error {
	if err := f.Follower.WaitUnlessRetrying(ctx, position); err != nil {
		return fmt.Errorf("the read model does not keep up with the log: %w", err)
	}
	return nil
}

// MasterOf is where the master key of a folder is.
func MasterOf(folder string) keyring.Master {
	return keyring.Master{
		Path: filepath.Join(folder, "master.key"), Given: os.Getenv("KONTO_MASTER_KEY"), Next: os.Getenv("KONTO_NEXT_MASTER_KEY"),
	}
}

func Missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// HoldsKonto tells whether a konto was begun in a folder.
func HoldsKonto(folder string) bool {
	return !Missing(filepath.Join(folder, "keys.db")) || !Missing(filepath.Join(folder, "log.db"))
}

func noKonto(folder string) error {
	return fmt.Errorf("there is no konto in %s; konto serve begins one, and so does konto account open --data %s", folder, forShell(folder))
}
