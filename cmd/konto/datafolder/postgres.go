package datafolder

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"konto/cmd/konto/erasure"
	"konto/eventstore"
	"konto/eventstore/postgres"
	"konto/eventstore/sqlitefile"
	"konto/projections"
)

// Postgres are the flags of a log that several machines share. The folder is then the node's own:
// it holds the read model, and nothing that another node needs.
type Postgres struct {
	Store        string `name:"store" placeholder:"URL" help:"Keep the log in this Postgres, which several nodes share. A password is accepted only in the variable."`
	KeyStore     string `name:"key-store" placeholder:"URL" help:"Keep the keys in this Postgres, apart from the log; in that of --store unless given."`
	Unreplicated bool   `name:"store-unreplicated" help:"Accept Postgres without a synchronous standby. What was acknowledged is then lost with its disk."`
}

// Shared reports whether the log is in Postgres.
func (p Postgres) Shared() bool { return p.Store != "" }

// OpenStore opens the database of the log. log may be nil.
func (p Postgres) OpenStore(ctx context.Context, log *slog.Logger) (*postgres.Database, error) {
	return postgres.Open(ctx, postgres.Config{URL: p.Store, Unreplicated: p.Unreplicated, Log: log})
}

// OpenKeyStore opens the database of the keys. log may be nil.
func (p Postgres) OpenKeyStore(ctx context.Context, log *slog.Logger) (*postgres.Database, error) {
	db, err := postgres.Open(ctx, postgres.Config{URL: cmp.Or(p.KeyStore, p.Store), Unreplicated: p.Unreplicated, Log: log})
	if err != nil {
		return nil, fmt.Errorf("open the keys: %w", err)
	}
	return db, nil
}

// Validate is called by the parser.
func (p Postgres) Validate() error {
	if !p.Shared() && (p.KeyStore != "" || p.Unreplicated) {
		return errors.New("--key-store and --store-unreplicated go with --store")
	}
	return nil
}

// logIDName is the file that says of which log in Postgres a folder is a node's.
const logIDName = "log.id"

// openShared opens the log and the keys in Postgres.
func (f *Folder) openShared(ctx context.Context, cfg Config) (err error) {
	for _, name := range []string{"log.db", "keys.db"} {
		if !Missing(f.file(name)) {
			return fmt.Errorf("%s holds a log of its own; a node needs another folder, and konto export and konto import --store move the log", Absolute(f.Path))
		}
	}
	if f.DB, err = cfg.Postgres.OpenStore(ctx, cfg.Log); err != nil {
		return err
	}
	// A node joins first: an import looks for nodes when it says that it runs.
	if err := f.join(ctx, cfg.Node); err != nil {
		return err
	}
	log, err := postgres.OpenLog(ctx, f.DB)
	if err != nil {
		return err
	}
	f.Log = log
	db, err := cfg.Postgres.OpenKeyStore(ctx, cfg.Log)
	if err != nil {
		return err
	}
	keys, err := postgres.OpenKeys(ctx, db, f.Master)
	if err != nil {
		db.Close()
		return err
	}
	f.Keys = keys // it closes its database, too
	head, err := log.Head(ctx)
	if err != nil {
		return err
	}
	if err := f.bind(ctx, head); err != nil {
		return fmt.Errorf("the key store does not fit the log in Postgres: %w", err)
	}
	f.Store = eventstore.NewStore(f.Log, f.Keys)
	return f.bindFolder(ctx)
}

// bindFolder refuses a folder of another log, whose node may have had other accounts.
func (f *Folder) bindFolder(ctx context.Context) error {
	id, err := f.Log.ID(ctx)
	if err != nil {
		return err
	}
	known, err := sqlitefile.ReadFile(f.file(logIDName))
	switch text := strings.TrimSpace(string(known)); {
	case errors.Is(err, fs.ErrNotExist), err == nil && text == "": // a crash may leave an empty file
		if err := os.WriteFile(f.file(logIDName), []byte(hex.EncodeToString(id)+"\n"), 0o600); err != nil {
			return err
		}
		return Sync(f.Path)
	case err != nil:
		return err
	case text != hex.EncodeToString(id):
		return fmt.Errorf("%s is the folder of a node of another log; give it another --data", Absolute(f.Path))
	}
	return nil
}

// join makes the process of a server one of the nodes. It comes before the process reads a key.
func (f *Folder) join(ctx context.Context, n postgres.Node) error {
	if n.Name == "" {
		return nil
	}
	member, err := f.DB.Join(ctx, n, f.passed)
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancel(context.WithoutCancel(ctx))
	gone := make(chan error, 1)
	go func() {
		defer close(gone) // a server may have received the error before leave is called
		gone <- member.Run(ctx)
	}()
	f.Gone = gone
	f.leave = func() error {
		leave()
		return <-gone
	}
	return nil
}

// Following names the followers that a server runs on the folder. The other nodes wait for them
// before an account counts as erased.
func (f *Folder) Following(followers ...*projections.Follower) { f.followers.Store(&followers) }

// passed is the position that all followers have passed. Before they run, others wait for them.
func (f *Folder) passed() uint64 {
	if all := f.followers.Load(); all != nil {
		return erasure.Passed(*all...)
	}
	return 0
}
