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

// house is an opened data folder, which no other process has opened.
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

// pageSize is how many events or rows are read at once.
const PageSize = 500

// mailFolder is where codes are without an SMTP server, in the data folder.
const MailName = "mail"

// houseConfig configures openHouse.
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

// openHouse opens a data folder. A *folderLocked tells that another process has it.
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

func (h *Folder) openFiles(ctx context.Context, cfg Config) (err error) {
	file := func(name string) string { return filepath.Join(h.Path, name) }
	// A new master key beside existing files would hide that theirs is missing.
	h.Begun = !HoldsKonto(h.Path)
	if h.Begun && !cfg.Begin {
		return noKonto(h.Path)
	}
	h.Master = MasterOf(h.Path)
	// Before any other file is made: a first start that fails leaves none behind.
	if _, err := h.Master.Load(h.Begun); err != nil {
		return err
	}
	if cfg.Examine {
		return h.openToExamine(ctx)
	}
	if err := h.openLogAndKeys(ctx, file("log.db"), file("keys.db"), h.Master); err != nil {
		return err
	}
	if err := h.checkNewestKeys(ctx); err != nil {
		return err
	}
	if err := h.renewClaims(ctx, cfg); err != nil {
		return err
	}
	if h.Model, err = projections.OpenReadModel(ctx, file("read.db"), h.Log, h.Keys); err != nil {
		return err
	}
	ledger := deliveries.StoreConfig{Path: file("deliveries.db"), Log: h.Log, Keys: h.Keys}
	if h.DeliveryStore, err = openLedger(ctx, ledger, cfg.warning); err != nil {
		return err
	}
	h.Follower = projections.NewFollower(projections.FollowerConfig{
		Name: "read-model", Store: h.Store, Projection: h.Model, Log: cfg.Log,
	})
	h.Accounts = commands.NewAccounts(commands.Config{Store: h.Store, Snapshots: h.Model})
	h.Credentials = commands.NewCredentials(h.Store, nil)
	h.ThirdParties = commands.NewThirdParties(h.Store, nil)
	h.Past = projections.NewPast(h.Store)
	if h.Erasures, err = openErasures(h.Path); err != nil {
		return err
	}
	return h.ApplyErasures(ctx, cfg.Log, h.CatchUpAlone, nil)
}

// renewClaims makes the claims of a log anew if a konto with another rule made them, and
// tells which accounts share an address since. Nothing appends yet.
func (h *Folder) renewClaims(ctx context.Context, cfg Config) error {
	rule, err := h.Store.ClaimRule(ctx)
	if err != nil {
		return err
	}
	if rule.Number != events.ClaimRule {
		if err := h.Store.RenewClaims(ctx, nil); err != nil {
			return fmt.Errorf("make the claims of accounts anew: %w", err)
		}
	}
	shared, err := h.Store.SharedClaims(ctx)
	for _, streams := range shared {
		cfg.warning(fmt.Sprintf("%d accounts have one email address, spelled differently; each keeps it until it is given another: %v", len(streams), streams))
	}
	return err
}

// Close closes the files, and the lock after them.
func (h *Folder) Close() error {
	var errs []error
	if h.DeliveryStore != nil {
		errs = append(errs, h.DeliveryStore.Close())
	}
	if h.Model != nil {
		errs = append(errs, h.Model.Close())
	}
	if h.Log != nil {
		errs = append(errs, h.Log.Close())
	}
	if h.Keys != nil {
		errs = append(errs, h.Keys.Close())
	}
	return errors.Join(append(errs, h.lock.Close())...)
}

// follow calls do while the read model follows the log, which it does not in a folder
// that is examined.
func (h *Folder) Follow(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	if h.Follower != nil {
		// What ends it, do met if it mattered, and said more of it.
		beside.Go(func() { h.Follower.Run(ctx) })
	}
	err := do(ctx)
	cancel()
	beside.Wait()
	return err
}

// reader answers with accounts that are never older than what was acknowledged.
func (h *Folder) Reader() *projections.Reader {
	return &projections.Reader{Store: h.Store, Model: h.Model, Follower: h.Follower}
}

// caughtUp waits until the read model has everything that is in the log now.
func (h *Folder) CatchUp(ctx context.Context) error {
	head, err := h.Store.Head(ctx)
	if err != nil {
		return err
	}
	return h.WaitFor(ctx, head)
}

// reached waits until the read model is at a position. A read model in trouble
// is an error at once: it may be in trouble for as long as a disk is full.
func (h *Folder) WaitFor(ctx context.Context, position uint64) error {
	if err := h.Follower.WaitUnlessRetrying(ctx, position); err != nil {
		return fmt.Errorf("the read model does not keep up with the log: %w", err)
	}
	return nil
}

// masterOf is where the master key of a folder is.
func MasterOf(folder string) keyring.Master {
	return keyring.Master{
		Path: filepath.Join(folder, "master.key"), Given: os.Getenv("KONTO_MASTER_KEY"), Next: os.Getenv("KONTO_NEXT_MASTER_KEY"),
	}
}

func Missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// holdsKonto tells whether a konto was begun in a folder.
func HoldsKonto(folder string) bool {
	return !Missing(filepath.Join(folder, "keys.db")) || !Missing(filepath.Join(folder, "log.db"))
}

func noKonto(folder string) error {
	return fmt.Errorf("there is no konto in %s; konto serve begins one, and so does konto account open --data %s", folder, forShell(folder))
}
