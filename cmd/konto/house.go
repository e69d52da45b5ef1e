package main

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
type house struct {
	folder      string
	begun       bool // there was no konto in the folder before
	lock        *os.File
	master      keyring.Master // whose Next is this process's own, not its caller's
	keys        *keyring.Keyring
	log         *sqlite.Log
	store       *eventstore.Store
	model       *projections.ReadModel
	ledger      *deliveries.Store
	follower    *projections.Follower // of model; nil where a command examines the folder
	accounts    *commands.Accounts
	credentials *commands.Credentials

	thirdParties *commands.ThirdParties
	erasures     *erasures
	erasing      sync.Mutex        // held while an account is erased
	past         *projections.Past // the sender's
	// backingUp is held while a backup or an export is made, and while the master
	// key is exchanged; it guards master.
	backingUp sync.Mutex
}

// pageSize is how many events or rows are read at once.
const pageSize = 500

// mailFolder is where codes are without an SMTP server, in the data folder.
const mailFolder = "mail"

// houseConfig configures openHouse.
type houseConfig struct {
	folder string
	holder string // who opens it, for those who find it locked
	begin  bool   // whether to make the folder and its files where there are none
	// examine opens what is there as it is, for an examiner: log, keys, and the
	// read model if it fits them.
	examine bool
	log     *slog.Logger
	warn    func(string) // is told what was mended; nil: log is
}

func (cfg houseConfig) warning(text string) {
	switch {
	case cfg.warn != nil:
		cfg.warn(text)
	case cfg.log != nil:
		cfg.log.Warn(text)
	}
}

// openHouse opens a data folder. A *folderLocked tells that another process has it.
func openHouse(ctx context.Context, cfg houseConfig) (*house, error) {
	if cfg.begin {
		if err := makeFolder(cfg.folder); err != nil {
			return nil, err
		}
	} else if missing(cfg.folder) {
		return nil, noKonto(cfg.folder)
	}
	// The lock comes first: to open a file that another process writes to is
	// enough to move SQLite's own locks or start a recovery.
	lock, err := lockFolder(cfg.folder, cfg.holder)
	if err != nil {
		return nil, err
	}
	h := &house{folder: cfg.folder, lock: lock}
	settle := settleIncoming
	if cfg.examine {
		settle = checkSettled
	}
	if err := settle(cfg.folder); err != nil { // before any file is opened
		h.Close()
		return nil, fmt.Errorf("finish what konto restore or konto import began: %w", err)
	}
	if err := h.openFiles(ctx, cfg); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *house) openFiles(ctx context.Context, cfg houseConfig) (err error) {
	file := func(name string) string { return filepath.Join(h.folder, name) }
	// A new master key beside existing files would hide that theirs is missing.
	h.begun = !holdsKonto(h.folder)
	if h.begun && !cfg.begin {
		return noKonto(h.folder)
	}
	h.master = masterOf(h.folder)
	// Before any other file is made: a first start that fails leaves none behind.
	if _, err := h.master.Load(h.begun); err != nil {
		return err
	}
	if cfg.examine {
		return h.openToExamine(ctx)
	}
	if err := h.openLogAndKeys(ctx, file("log.db"), file("keys.db"), h.master); err != nil {
		return err
	}
	if err := h.checkNewestKeys(ctx); err != nil {
		return err
	}
	if err := h.renewClaims(ctx, cfg); err != nil {
		return err
	}
	if h.model, err = projections.OpenReadModel(ctx, file("read.db"), h.log, h.keys); err != nil {
		return err
	}
	ledger := deliveries.StoreConfig{Path: file("deliveries.db"), Log: h.log, Keys: h.keys}
	if h.ledger, err = openLedger(ctx, ledger, cfg.warning); err != nil {
		return err
	}
	h.follower = projections.NewFollower(projections.FollowerConfig{
		Name: "read-model", Store: h.store, Projection: h.model, Log: cfg.log,
	})
	h.accounts = commands.NewAccounts(commands.Config{Store: h.store, Snapshots: h.model})
	h.credentials = commands.NewCredentials(h.store, nil)
	h.thirdParties = commands.NewThirdParties(h.store, nil)
	h.past = projections.NewPast(h.store)
	if h.erasures, err = openErasures(h.folder); err != nil {
		return err
	}
	return h.applyErasures(ctx, cfg.log, h.catchUpAlone, nil)
}

// renewClaims makes the claims of a log anew if a konto with another rule made them, and
// tells which accounts share an address since. Nothing appends yet.
func (h *house) renewClaims(ctx context.Context, cfg houseConfig) error {
	rule, err := h.store.ClaimRule(ctx)
	if err != nil {
		return err
	}
	if rule.Number != events.ClaimRule {
		if err := h.store.RenewClaims(ctx, nil); err != nil {
			return fmt.Errorf("make the claims of accounts anew: %w", err)
		}
	}
	shared, err := h.store.SharedClaims(ctx)
	for _, streams := range shared {
		cfg.warning(fmt.Sprintf("%d accounts have one email address, spelled differently; each keeps it until it is given another: %v", len(streams), streams))
	}
	return err
}

// Close closes the files, and the lock after them.
func (h *house) Close() error {
	var errs []error
	if h.ledger != nil {
		errs = append(errs, h.ledger.Close())
	}
	if h.model != nil {
		errs = append(errs, h.model.Close())
	}
	if h.log != nil {
		errs = append(errs, h.log.Close())
	}
	if h.keys != nil {
		errs = append(errs, h.keys.Close())
	}
	return errors.Join(append(errs, h.lock.Close())...)
}

// follow calls do while the read model follows the log, which it does not in a folder
// that is examined.
func (h *house) follow(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	if h.follower != nil {
		// What ends it, do met if it mattered, and said more of it.
		beside.Go(func() { h.follower.Run(ctx) })
	}
	err := do(ctx)
	cancel()
	beside.Wait()
	return err
}

// reader answers with accounts that are never older than what was acknowledged.
func (h *house) reader() *projections.Reader {
	return &projections.Reader{Store: h.store, Model: h.model, Follower: h.follower}
}

// caughtUp waits until the read model has everything that is in the log now.
func (h *house) caughtUp(ctx context.Context) error {
	head, err := h.store.Head(ctx)
	if err != nil {
		return err
	}
	return h.reached(ctx, head)
}

// reached waits until the read model is at a position. A read model in trouble
// is an error at once: it may be in trouble for as long as a disk is full.
func (h *house) reached(ctx context.Context, position uint64) error {
	if err := h.follower.WaitUnlessRetrying(ctx, position); err != nil {
		return fmt.Errorf("the read model does not keep up with the log: %w", err)
	}
	return nil
}

// masterOf is where the master key of a folder is.
func masterOf(folder string) keyring.Master {
	return keyring.Master{
		Path: filepath.Join(folder, "master.key"), Given: os.Getenv("KONTO_MASTER_KEY"), Next: os.Getenv("KONTO_NEXT_MASTER_KEY"),
	}
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// holdsKonto tells whether a konto was begun in a folder.
func holdsKonto(folder string) bool {
	return !missing(filepath.Join(folder, "keys.db")) || !missing(filepath.Join(folder, "log.db"))
}

func noKonto(folder string) error {
	return fmt.Errorf("there is no konto in %s; konto serve begins one, and so does konto account open --data %s", folder, forShell(folder))
}
