package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"konto/commands"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
	"konto/projections"
	"konto/projections/deliveries"
	"konto/projections/nats"
	"konto/projections/webhook"
)

// house is an opened data folder, which no other process has opened.
type house struct {
	folder      string
	lock        *os.File
	keys        *keyring.Keyring
	log         *sqlite.Log
	store       *eventstore.Store
	model       *projections.ReadModel
	ledger      *deliveries.Ledger
	follower    *projections.Follower // of model
	accounts    *commands.Accounts
	credentials *commands.Credentials

	thirdParties *commands.ThirdParties
	// disconnect ends the connections of consumers and senders (nats.SenderUser);
	// nil where there is no NATS server. Without names it ends those of all consumers.
	disconnect func(consumers ...string)
	// deliveries and sender are the server's; nil where none runs.
	deliveries *deliveries.Deliveries
	sender     *webhook.Sender
	// inbound is where facts of other systems arrive; nil where no server runs.
	inbound *nats.Inbound
}

// houseConfig configures openHouse.
type houseConfig struct {
	folder string
	holder string // who opens it, for those who find it locked
	begin  bool   // whether to make the folder and its files where there are none
	log    *slog.Logger
	warn   func(string) // is told what was mended; nil: log is
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
		return nil, noData(cfg.folder)
	}
	// The lock comes first: to open a file that another process writes to is
	// enough to move SQLite's own locks or start a recovery.
	lock, err := lockFolder(cfg.folder, cfg.holder)
	if err != nil {
		return nil, err
	}
	h := &house{folder: cfg.folder, lock: lock}
	if err := h.openFiles(ctx, cfg); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *house) openFiles(ctx context.Context, cfg houseConfig) (err error) {
	file := func(name string) string { return filepath.Join(h.folder, name) }
	// A new master key beside existing files would hide that theirs is missing.
	fresh := missing(file("keys.db")) && missing(file("log.db"))
	if fresh && !cfg.begin {
		return noData(h.folder)
	}
	master, err := keyring.LoadMaster(file("master.key"), os.Getenv("KONTO_MASTER_KEY"), fresh)
	if err != nil {
		return err
	}
	if err := h.openLogAndKeys(ctx, file("log.db"), file("keys.db"), master); err != nil {
		return err
	}
	if h.model, err = projections.OpenReadModel(ctx, file("read.db"), h.log, h.keys); err != nil {
		return err
	}
	ledger := deliveries.LedgerConfig{Path: file("deliveries.db"), Log: h.log, Keys: h.keys}
	if h.ledger, err = openLedger(ctx, ledger, cfg.warning); err != nil {
		return err
	}
	h.follower = projections.NewFollower(projections.FollowerConfig{
		Name: "read-model", Store: h.store, Projection: h.model, Log: cfg.log,
	})
	h.accounts = commands.NewAccounts(commands.Config{Store: h.store})
	h.credentials = commands.NewCredentials(h.store, nil)
	h.thirdParties = commands.NewThirdParties(h.store, nil)
	return nil
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

// do runs one command in a house that nothing else follows. A command that
// runs until it is interrupted lets others in meanwhile.
func (h *house) do(ctx context.Context, c command, out *output) error {
	ctx, cancel := context.WithCancel(ctx)
	var beside errgroup.Group
	beside.Go(func() error { return h.follower.Run(ctx) })
	if _, ok := c.(endless); ok {
		door, err := openControl(h)
		if err != nil {
			cancel()
			return errors.Join(err, beside.Wait())
		}
		defer door.close()
		beside.Go(func() error { return door.Run(ctx) })
	}
	err := c.Run(ctx, h, out)
	cancel()
	// The command's own error says more than that of what ran beside it, which
	// the command would have met if it had mattered.
	beside.Wait()
	return errors.Join(err, out.flush())
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

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func noData(folder string) error {
	return fmt.Errorf("there is no konto data in %s; konto serve or konto account open would begin it", folder)
}
