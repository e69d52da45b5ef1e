package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/kontobench/bench"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// filling fills a data folder with accounts and events, much faster than requests would. konto's
// own commands make them. They are stored thousands in a transaction.
type filling struct {
	folder      *datafolder.Folder
	bulk        *bulk
	store       *eventstore.Store // over bulk
	accounts    *commands.Accounts
	credentials *commands.Credentials
	progress    func(done, total uint64, unit string)

	owners []benchAccount
}

// benchAccount is an account, and a key that may read and write it.
type benchAccount struct {
	id      ulid.ULID
	token   string
	version uint64 // of the account; 0: not known
}

// newFilling begins a konto in an empty folder.
func newFilling(ctx context.Context, folder string, progress func(done, total uint64, unit string)) (*filling, error) {
	f := &filling{progress: progress}
	return f, f.open(ctx, folder)
}

// open opens the folder, which a server may have used meanwhile.
func (f *filling) open(ctx context.Context, folder string) (err error) {
	cfg := datafolder.Config{Path: folder, Holder: "kontobench", Begin: true, Log: slog.New(slog.DiscardHandler)}
	if f.folder, err = datafolder.Open(ctx, cfg); err != nil {
		return err
	}
	head, err := f.folder.Log.Head(ctx)
	if err != nil {
		return err
	}
	for i := range f.owners {
		f.owners[i].version = 0
	}
	f.bulk = &bulk{AdminLog: f.folder.Log, last: head}
	f.store = eventstore.NewStore(f.bulk, f.folder.Keys)
	f.accounts = commands.NewAccounts(commands.Config{Store: f.store, CachedAccounts: 1})
	f.credentials = commands.NewCredentials(f.store, nil)
	return nil
}

func (f *filling) close() error { return f.folder.Close() }

const (
	// fillPart is how many accounts or events wait in memory to be stored.
	fillPart = 10_000
	// fillers work at the same time, so that the keys that they make share commits.
	fillers = 256
)

// openAccounts opens accounts, and issues a key for each, until there are n.
func (f *filling) openAccounts(ctx context.Context, n int) error {
	for len(f.owners) < n {
		part := make([]benchAccount, min(fillPart, n-len(f.owners)))
		first := len(f.owners)
		if err := f.each(ctx, len(part), func(i int) (err error) {
			part[i].id, err = f.openAccount(ctx, first+i)
			return err
		}); err != nil {
			return err
		}
		if err := f.each(ctx, len(part), func(i int) (err error) {
			part[i].token, err = f.issueKey(ctx, part[i].id)
			return err
		}); err != nil {
			return err
		}
		f.owners = append(f.owners, part...)
		f.progress(uint64(len(f.owners)), uint64(n), "accounts")
	}
	return nil
}

// each calls do n times, from several goroutines, and stores what was appended.
func (f *filling) each(ctx context.Context, n int, do func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(fillers)
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return f.bulk.flush(ctx)
}

func (f *filling) openAccount(ctx context.Context, i int) (ulid.ULID, error) {
	id, err := datafolder.NewID()
	if err != nil {
		return id, err
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return id, err
	}
	open := commands.Open{
		Email: fmt.Sprintf("account%d@bench.example.com", i), PaywayID: commands.NewPaywayID(),
		Profile: events.ProfileUpdated{FirstName: events.Set("Ada"), LastName: events.Set("Lovelace")},
	}
	_, err = f.accounts.Do(ctx, id, meta, open.WithDefaults())
	return id, err
}

func (f *filling) issueKey(ctx context.Context, account ulid.ULID) (string, error) {
	meta, err := datafolder.Operator()
	if err != nil {
		return "", err
	}
	issued, err := f.credentials.IssueKey(ctx, meta, events.KeyIssued{Account: account, Scopes: []string{"read:account", "write:account"}})
	return issued.Token, err
}

// update updates accounts in turn until the log holds so many events.
func (f *filling) update(ctx context.Context, total int) error {
	next := 0
	for f.bulk.last < uint64(total) {
		// No account is updated twice in one part, because the next version follows from the last.
		part := min(fillPart, len(f.owners), total-int(f.bulk.last))
		if err := f.each(ctx, part, func(i int) error {
			return f.updateOne(ctx, &f.owners[(next+i)%len(f.owners)])
		}); err != nil {
			return err
		}
		next += part
		f.progress(f.bulk.last, uint64(total), "events stored")
	}
	return nil
}

func (f *filling) updateOne(ctx context.Context, o *benchAccount) error {
	stream := events.AccountStream(o.id)
	if o.version == 0 {
		head, err := f.folder.Log.StreamHead(ctx, stream)
		if err != nil {
			return err
		}
		o.version = head.Version
	}
	e, err := events.New(stream, o.version+1, ulid.Make(), time.Now(), fillMetadata, events.ProfileUpdated{
		FirstName: events.Set(fmt.Sprintf("Ada%016d", o.version)), PhoneNumber: events.Set("+46701234567"),
	})
	if err != nil {
		return err
	}
	_, err = f.store.Append(ctx, stream, o.version, nil, []events.Event{e})
	o.version++
	return err
}

// fillMetadata is as long as that of an update over HTTP.
var fillMetadata = events.Metadata{
	RequestID: "req_01hxa3b4c5d6e7f8g9h0j1k2m3", Contract: "hostup",
	Actor: events.Actor{Kind: "account", ID: "01HXA3B4C5D6E7F8G9H0J1K2M3"},
}

// caughtUp waits until the read model has applied what was stored, in large batches.
func (f *filling) caughtUp(ctx context.Context) error {
	follower := projections.NewFollower(projections.FollowerConfig{
		Name: "read-model", Store: f.folder.Store, Projection: f.folder.Model, Batch: fillPart, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { follower.Run(ctx) })
	defer background.Wait()
	defer cancel()
	head := f.bulk.last
	for {
		step, done := context.WithTimeout(ctx, control.ReportEvery)
		err := follower.WaitUnlessRetrying(step, head)
		done()
		if err == nil || ctx.Err() != nil || step.Err() == nil {
			return err
		}
		f.progress(follower.Status().Position, head, "events folded")
	}
}

// targets are the owners' keys.
func (f *filling) targets() []bench.Target {
	all := make([]bench.Target, len(f.owners))
	for i, o := range f.owners {
		all[i] = bench.Target{Token: o.token}
	}
	return all
}

// bulk is a log that keeps appends in memory until flush stores them. Nobody reads them before.
type bulk struct {
	eventstore.AdminLog

	mu      sync.Mutex // for the fields below
	waiting []eventstore.Batch
	last    uint64 // position of the last record that waits
}

// Append implements eventstore.Appender, except that nothing is durable before flush, which also
// returns the conflicts.
func (b *bulk) Append(_ context.Context, batch eventstore.Batch) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, batch)
	b.last += uint64(len(batch.Records))
	return b.last, nil
}

func (b *bulk) flush(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting := b.waiting
	b.waiting = nil
	_, err := b.AppendAll(ctx, waiting)
	return err
}

var _ eventstore.Log = (*bulk)(nil)
