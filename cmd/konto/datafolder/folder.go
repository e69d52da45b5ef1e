package datafolder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"konto/cmd/konto/erasure"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/postgres"
	"konto/projections"
	"konto/projections/deliveries"
)

// Folder is an open data folder. No other process has opened it.
type Folder struct {
	Path   string
	Begun  bool // there was no konto in the folder before
	lock   *os.File
	Master keyring.Master // Next in it is of this process's environment, not of the caller's
	Keys   eventstore.KeyStore
	Log    eventstore.AdminLog
	Store  *eventstore.Store
	Model  *projections.ReadModel
	DB     *postgres.Database // of Log, which closes it; nil if the log is in the folder
	Limits *postgres.Limits   // of all nodes together; nil if there is one
	// Gone has an error if the others go on without this node. It must end then. nil unless the
	// process is a node.
	Gone          <-chan error
	leave         func() error // the other nodes; nil as Gone
	followers     atomic.Pointer[[]*projections.Follower]
	DeliveryStore deliveries.Store
	Follower      *projections.Follower // of Model; nil when the folder was opened to be examined
	Accounts      *commands.Accounts
	Credentials   *commands.Credentials

	ThirdParties *commands.ThirdParties
	Erasures     *erasure.Process  // nil when the folder was opened to be examined
	Past         *projections.Past // earlier states of accounts, for the sender of webhooks
	// Copying is held while a copy of the log or the keys is made, and while the master key is
	// exchanged. It guards Master.
	Copying sync.Mutex
}

// PageSize is how many events or rows are read at once.
const PageSize = 500

// MailName is the subfolder for codes when there is no SMTP server.
const MailName = "mail"

// Config configures Open.
type Config struct {
	Path   string
	Holder string // who opens the folder, as another process is told that finds it locked
	Begin  bool   // make the folder and its files if there are none
	// Examine opens the log, the keys, and the read model if it fits them, and changes no
	// file.
	Examine bool
	// Postgres, Node and SendTimeout are of a log in Postgres. Node is what a server is among the
	// nodes, the zero value for a command. SendTimeout is how long a request to a third party may
	// take.
	Postgres    Postgres
	Node        postgres.Node
	SendTimeout time.Duration
	Log         *slog.Logger
	Warn        func(string) // is called with what was repaired; Log is used if it is nil
}

func (cfg Config) warning(text string) {
	switch {
	case cfg.Warn != nil:
		cfg.Warn(text)
	case cfg.Log != nil:
		cfg.Log.Warn(text)
	}
}

// Open opens a data folder. A *Locked error means that another process has opened it.
func Open(ctx context.Context, cfg Config) (*Folder, error) {
	if cfg.Begin || cfg.Postgres.Shared() {
		if err := Make(cfg.Path); err != nil {
			return nil, err
		}
	} else if Missing(cfg.Path) {
		return nil, noKonto(cfg.Path)
	}
	// The lock comes first. Merely opening a file that another process writes to can move
	// SQLite's own locks or start a recovery.
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
	// If files exist, no new master key may be made beside them: it would hide that theirs is
	// missing.
	f.Begun = !HoldsKonto(f.Path) && !cfg.Postgres.Shared()
	switch {
	case !cfg.Postgres.Shared() && !Missing(file(logIDName)):
		return fmt.Errorf("%s is the folder of a node whose log is in Postgres; give --store", Absolute(f.Path))
	case f.Begun && !cfg.Begin:
		return noKonto(f.Path)
	}
	f.Master = MasterOf(f.Path)
	// The master key comes before any other file, so that a first start that fails leaves no
	// files.
	if _, err := f.Master.Load(f.Begun); err != nil {
		return err
	}
	if cfg.Examine {
		return f.openToExamine(ctx, cfg)
	}
	if err := f.openStore(ctx, cfg); err != nil {
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
	deliveryFile, err := f.openDeliveries(ctx, cfg)
	if err != nil {
		return err
	}
	f.Follower = projections.NewFollower(projections.FollowerConfig{
		Name: "read-model", Store: f.Store, Projection: f.Model, Log: cfg.Log,
	})
	accounts := commands.Config{Store: f.Store, Snapshots: f.Model}
	if f.DB != nil {
		f.Limits = postgres.NewLimits(f.DB, f.Keys.Derive(postgres.LimitsPurpose))
		accounts.Counts = f.Limits
	}
	f.Accounts = commands.NewAccounts(accounts)
	f.Credentials = commands.NewCredentials(f.Store, nil)
	f.ThirdParties = commands.NewThirdParties(f.Store, nil)
	f.Past = projections.NewPast(f.Store)
	if err := f.openErasures(ctx, cfg, deliveryFile); err != nil {
		return err
	}
	err = f.Erasures.Reconcile(ctx)
	f.Erasures.CatchUp = f.CatchUp
	return err
}

// openStore opens the log and the keys, in the folder or in Postgres.
func (f *Folder) openStore(ctx context.Context, cfg Config) error {
	if cfg.Postgres.Shared() {
		return f.openShared(ctx, cfg)
	}
	return f.openLogAndKeys(ctx, f.file("log.db"), f.file("keys.db"), f.Master)
}

// openDeliveries opens the store of deliveries. It returns the file, if it is one, because an
// earlier build kept erasures in it.
func (f *Folder) openDeliveries(ctx context.Context, cfg Config) (*deliveries.File, error) {
	if f.DB != nil {
		store, err := deliveries.NewPostgres(deliveries.PostgresConfig{
			Database: f.DB, Keys: f.Keys, Node: cmp.Or(cfg.Node.Name, cfg.Holder), Timeout: cfg.SendTimeout,
		})
		if err == nil {
			f.DeliveryStore = store
		}
		return nil, err
	}
	file, err := openOrReplace(f.file("deliveries.db"), func(path string) (*deliveries.File, error) {
		return deliveries.OpenFile(ctx, deliveries.FileConfig{Path: path, Log: f.Log, Keys: f.Keys})
	}, "third parties are told again of what followed the last checkpoints", cfg.warning)
	if err == nil {
		f.DeliveryStore = file
	}
	return file, err
}

// openErasures opens what erasures need to know. earlier is the file in which earlier builds kept
// that, or nil.
func (f *Folder) openErasures(ctx context.Context, cfg Config, earlier *deliveries.File) (err error) {
	f.Erasures = &erasure.Process{
		Folder: f.Path, Mails: f.file(MailName), Store: f.Store, Keys: f.Keys,
		Model: f.Model, CatchUp: f.CatchUpAlone, Past: f.Past, Accounts: f.Accounts,
		Credentials: f.Credentials, Deliveries: f.DeliveryStore, Log: cfg.Log,
	}
	if f.DB != nil {
		if f.Erasures.Shared, err = erasure.OpenShared(ctx, f.DB, cmp.Or(cfg.Node.Name, cfg.Holder), f.Keys); err != nil {
			return err
		}
		return f.Erasures.Open(ctx)
	}
	rows, err := openOrReplace(f.file(erasure.RowsName), func(path string) (*erasure.Rows, error) {
		return erasure.OpenRows(ctx, path, f.Keys)
	}, "messages that name erased accounts may be left, and third parties may not be told of an erasure", cfg.warning)
	if err != nil {
		return err
	}
	f.Erasures.Rows = rows
	if err := earlier.MoveErasures(ctx, rows.Adopt); err != nil {
		return err
	}
	return f.Erasures.Open(ctx)
}

// renewClaims computes all claims again if they were computed by another rule, and warns of
// accounts that share an address since. Nothing appends to the log yet.
func (f *Folder) renewClaims(ctx context.Context, cfg Config) error {
	rule, err := f.Store.ClaimRule(ctx)
	if err != nil {
		return err
	}
	if rule.Number != events.ClaimRule {
		// It is one transaction. A start that is ended because it takes long begins again.
		cfg.warning("the claims of accounts are written again by the rule of this konto: that reads the whole log, once, and must not be interrupted")
		err := f.Store.RenewClaims(ctx, eachTenth(cfg.warning))
		if errors.Is(err, postgres.ErrNodesRun) { // they would go on to append by the other rule
			return fmt.Errorf("this konto has another rule for the claims of accounts, and %w; start one node of this version, and then the others", err)
		}
		if err != nil {
			return fmt.Errorf("write the claims of accounts again: %w", err)
		}
	}
	shared, err := f.Store.SharedClaims(ctx)
	for _, streams := range shared {
		cfg.warning(fmt.Sprintf("%d accounts have one email address, spelled differently; each keeps it until it is given another: %v", len(streams), streams))
	}
	return err
}

// eachTenth reports renewed claims whenever another tenth of the log is done.
func eachTenth(tell func(string)) func(done, total uint64) {
	told := uint64(0)
	return func(done, total uint64) {
		if tenths := 10 * done / total; tenths > told && tenths < 10 {
			told = tenths
			tell(fmt.Sprintf("claims are written again: %d of %d events", done, total))
		}
	}
}

// Close closes the files and then releases the lock.
func (f *Folder) Close() error {
	var errs []error
	if f.Erasures != nil && f.Erasures.Rows != nil {
		errs = append(errs, f.Erasures.Rows.Close())
	}
	if f.DeliveryStore != nil {
		errs = append(errs, f.DeliveryStore.Close())
	}
	if f.Model != nil {
		errs = append(errs, f.Model.Close())
	}
	if f.leave != nil { // when nothing of the process reads any more
		errs = append(errs, f.leave())
	}
	switch {
	case f.Log != nil:
		errs = append(errs, f.Log.Close())
	case f.DB != nil:
		f.DB.Close()
	}
	if f.Keys != nil {
		errs = append(errs, f.Keys.Close())
	}
	return errors.Join(append(errs, f.lock.Close())...)
}

// Follow calls do while the read model and erasures follow the log. In a folder that is examined,
// nothing follows it.
func (f *Folder) Follow(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	if f.Follower != nil {
		// If the follower fails and do needs it, do returns an error that says more.
		beside.Go(func() { f.Follower.Run(ctx) })
		beside.Go(func() { f.Erasures.Follower.Run(ctx) })
	}
	err := do(ctx)
	cancel()
	beside.Wait()
	return err
}

// Reader returns accounts that are never older than the last acknowledged event.
func (f *Folder) Reader() *projections.Reader {
	return &projections.Reader{Store: f.Store, Model: f.Model, Follower: f.Follower}
}

// CatchUp waits until the read model has applied everything that is in the log now.
func (f *Folder) CatchUp(ctx context.Context) error {
	head, err := f.Store.Head(ctx)
	if err != nil {
		return err
	}
	return f.WaitFor(ctx, head)
}

// CatchUpAlone brings the read model to the log's end while nothing follows the log.
func (folder *Folder) CatchUpAlone(ctx context.Context) error {
	head, err := folder.Store.Head(ctx)
	if err != nil {
		return err
	}
	f := projections.NewFollower(projections.FollowerConfig{
		Name: "read-model", Store: folder.Store, Projection: folder.Model, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	err = f.WaitUnlessRetrying(ctx, head)
	cancel()
	<-ended
	return err
}

// WaitFor waits until the read model has reached a position. If the read model is in trouble,
// WaitFor returns an error at once, because a full disk can last for hours.
func (f *Folder) WaitFor(ctx context.Context, position uint64) error {
	if err := f.Follower.WaitUnlessRetrying(ctx, position); err != nil {
		return fmt.Errorf("the read model does not keep up with the log: %w", err)
	}
	return nil
}

// MasterOf returns where the master key of a folder is.
func MasterOf(folder string) keyring.Master {
	return keyring.Master{
		Path: filepath.Join(folder, "master.key"), Given: os.Getenv("KONTO_MASTER_KEY"), Next: os.Getenv("KONTO_NEXT_MASTER_KEY"),
	}
}

// Missing reports whether there is no file at a path.
func Missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// HoldsKonto reports whether a folder has a log or keys.
func HoldsKonto(folder string) bool {
	return !Missing(filepath.Join(folder, "keys.db")) || !Missing(filepath.Join(folder, "log.db"))
}

func noKonto(folder string) error {
	return fmt.Errorf("there is no konto in %s; konto serve begins one, and so does konto account open --data %s", folder, forShell(folder))
}
