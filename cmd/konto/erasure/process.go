package erasure

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections"
	"konto/projections/deliveries"
)

const (
	// followTime is how long keys live on because a follower that needs NATS has not passed the
	// end of their account.
	followTime = 2 * time.Second

	// How long Run waits before it looks again: after an error, after an account has ended on a
	// cluster, and otherwise. A lease lasts 5 s.
	retryDelay    = 10 * time.Second
	takeOverDelay = 6 * time.Second
	lookDelay     = time.Minute
)

// Process erases accounts. Its first fields are what it works on; Open sets the others.
type Process struct {
	Folder      string   // where the ledger is
	Mails       string   // the folder of mails
	Rows        RowStore // unless there is Shared
	Shared      *Shared  // on a cluster; nil on a single machine
	Store       *eventstore.Store
	Keys        eventstore.KeyStore
	Model       *projections.ReadModel
	CatchUp     func(context.Context) error // waits until Model has passed what is in the log now
	Past        *projections.Past
	Accounts    *commands.Accounts
	Credentials *commands.Credentials
	Deliveries  deliveries.Store
	Log         *slog.Logger // nil means slog.Default()
	// After is called with the number of each step that ended, if it is not nil. A test returns
	// an error, as if konto were killed there.
	After func(step int) error

	Ledger LedgerStore
	// Follower follows the log, and does what follows from AccountErased.
	Follower *projections.Follower

	erasing sync.Mutex              // see Alone
	inbound Inbound                 // nil unless a server runs
	others  []*projections.Follower // of the server

	mu      sync.Mutex
	ended   map[ulid.ULID]struct{} // on a cluster: whose erasure Run must see finished; guarded by mu
	noticed chan struct{}          // has an element when AccountErased was read
}

// Open reads the ledger and the rows. Reconcile comes next.
func (p *Process) Open(ctx context.Context) (err error) {
	if p.Log == nil {
		p.Log = slog.Default()
	}
	p.Follower = projections.NewFollower(projections.FollowerConfig{
		Name: "erasure", Store: p.Store, Projection: follower{p}, Log: p.Log,
	})
	if p.Shared != nil {
		p.Rows, p.Ledger = p.Shared, p.Shared
		p.ended, p.noticed = map[ulid.ULID]struct{}{}, make(chan struct{}, 1)
		return nil
	}
	if p.Ledger, err = openLedger(p.Folder); err != nil {
		return err
	}
	rows, err := p.Rows.All(ctx)
	for account, row := range rows {
		if !row.Proven {
			p.Ledger.begin(account)
		}
	}
	return err
}

// Alone calls do while no other goroutine, and on a cluster no other node, erases. do's context ends
// if another node may begin.
func (p *Process) Alone(ctx context.Context, do func(context.Context) error) error {
	p.erasing.Lock()
	defer p.erasing.Unlock()
	if p.Shared == nil {
		return do(ctx)
	}
	return p.Shared.hold(ctx, do)
}

// Serve tells what else a server has: the messages of other systems, and followers that have to
// pass the end of an account. It is called before Follower runs.
func (p *Process) Serve(inbound Inbound, others ...*projections.Follower) {
	p.inbound, p.others = inbound, others
}

// passed waits until the followers have passed a position. The read model must: it tells
// whose the credentials are. The others are waited for shortly, because NATS may be away for hours,
// and the keys must not live on for that long. A follower that is late reads what nobody can decrypt
// any more, and deletes its data when it comes to AccountErased.
func (p *Process) passed(ctx context.Context, position uint64) error {
	if err := p.CatchUp(ctx); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	for _, f := range p.others {
		_ = f.WaitUnlessRetrying(bounded, position) // health and the log tell of its trouble
	}
	if p.Shared == nil {
		return nil
	}
	// So are the other nodes: one may have stopped. The proof waits for them.
	if err := p.passedEverywhere(ctx, position); !errors.Is(err, errBehind) {
		return err
	}
	return nil
}

// follower is the projection of Process.Follower. It begins at the end of the log, because
// Reconcile has finished what is before. On a cluster another node may be erasing an account whose
// end is before. Such an account has a row.
type follower struct{ p *Process }

// Position implements projections.Projection.
func (f follower) Position(ctx context.Context) (uint64, error) {
	head, err := f.p.Store.Head(ctx)
	if err == nil && f.p.Shared != nil {
		err = f.p.forgetBegun(ctx)
	}
	return head, err
}

// Apply implements projections.Projection. An erasure that fails does not hold up those behind it:
// its row says that it is not done.
func (f follower) Apply(ctx context.Context, batch []events.Event) error {
	if f.p.Shared != nil {
		return f.p.forgetEnded(ctx, batch)
	}
	var erased []ulid.ULID
	for _, e := range batch {
		if _, account, err := e.Stream.Split(); err == nil && e.Type == events.TypeAccountErased {
			erased = append(erased, account)
		}
	}
	if len(erased) == 0 {
		return nil
	}
	if err := f.p.complete(context.WithoutCancel(ctx), erased...); err != nil {
		f.p.Log.Error("an erasure is not finished, and is tried again", "accounts", erased, "error", err)
	}
	return nil
}

// Run does until ctx ends what could not be done: it finishes erasures that failed, deletes
// messages of accounts that were erased without a server, and rows that nothing needs any more.
func (p *Process) Run(ctx context.Context) {
	for told := false; ; {
		err := p.look(ctx)
		if err != nil && ctx.Err() == nil && !told {
			p.Log.Warn("what others sent of erased accounts may still be there; konto goes on trying", "error", err)
		}
		delay := lookDelay
		if told = err != nil; told {
			delay = retryDelay
		}
		select {
		case <-time.After(delay):
		case <-p.noticed: // the node on which Erase was called has done it by then, or has stopped
			select {
			case <-time.After(takeOverDelay):
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (p *Process) look(ctx context.Context) error {
	rows, err := p.Rows.All(ctx)
	if err != nil {
		return err
	}
	accounts := slices.Collect(maps.Keys(rows))
	if p.Shared != nil {
		unfinished, err := p.unfinished(ctx)
		if err != nil {
			return err
		}
		accounts = append(accounts, unfinished...)
		slices.SortFunc(accounts, ulid.ULID.Compare)
		accounts = slices.Compact(accounts)
	}
	if len(accounts) == 0 {
		return nil
	}
	return p.complete(ctx, accounts...)
}

// Reconcile makes tombstones, log and ledger agree, before anybody is answered. An account is erased
// if one of these says so:
//
//   - the ledger, or a row that is not proven. Its key is destroyed and AccountErased is appended,
//     unless that was done: older keys or an older log were restored, or konto was killed.
//   - a tombstone or AccountErased, which the read model finds. The proof is added to the ledger,
//     unless it is there: the ledger was lost.
//
// An erasure that cannot be finished now, for example because the read model cannot be written,
// does not keep konto from starting. But its key is destroyed in any case, or Reconcile returns an
// error.
func (p *Process) Reconcile(ctx context.Context) error {
	if p.Shared != nil {
		if err := p.Shared.refresh(ctx); err != nil {
			return err
		}
	}
	mails, _ := os.ReadDir(p.Mails) // without a server there may be no such folder
	accounts, err := p.Model.Erased(ctx)
	if err != nil {
		return err
	}
	accounts = append(accounts, p.Ledger.all()...)
	slices.SortFunc(accounts, ulid.ULID.Compare)
	accounts = slices.Compact(accounts)
	done, err := p.areErased(ctx, accounts)
	if err != nil {
		return err
	}
	var unfinished []ulid.ULID
	var keys []events.Stream
	for i, account := range accounts {
		switch {
		case !done[i]:
			unfinished, keys = append(unfinished, account), append(keys, events.AccountStream(account))
		case len(mails) > 0: // one may have been written while the account was erased
			if err := p.deleteMails(ctx, account); err != nil {
				return err
			}
		}
	}
	if len(unfinished) == 0 {
		return nil
	}
	return p.Alone(ctx, func(ctx context.Context) error {
		err := p.endUnreadable(ctx)
		switch {
		case err != nil:
		case p.Shared == nil:
			err = p.erase(ctx, unfinished)
		default:
			// Nodes that start together must not wait for one another: Run does the rest.
			p.mustEnd(unfinished...)
			var failed error
			_, failed, err = p.shred(ctx, unfinished, func(ctx context.Context, _ uint64) error { return p.CatchUp(ctx) })
			err = errors.Join(failed, err)
		}
		if err == nil {
			return nil
		}
		p.Log.Error("an erasure is not finished, the next start tries again", "accounts", unfinished, "error", err)
		return p.Keys.Destroy(ctx, keys...)
	})
}

// areErased asks IsErased about each account. On a cluster each answer takes milliseconds, and
// those that are asked for together share them.
func (p *Process) areErased(ctx context.Context, accounts []ulid.ULID) ([]bool, error) {
	done := make([]bool, len(accounts))
	var asking errgroup.Group
	if asking.SetLimit(1); p.Shared != nil {
		asking.SetLimit(64)
	}
	for i, account := range accounts {
		asking.Go(func() (err error) {
			done[i], err = p.IsErased(ctx, account)
			return err
		})
	}
	return done, asking.Wait()
}

// endUnreadable revokes the credentials whose keys are destroyed: a log that was restored does not
// say whose they are. If older keys were restored, the read model knows neither what they read nor
// whose the credentials are, and is rebuilt.
func (p *Process) endUnreadable(ctx context.Context) error {
	if err := p.CatchUp(ctx); err != nil {
		return err
	}
	credentials, err := p.Model.Unreadable(ctx)
	if errors.Is(err, eventstore.ErrSealBroken) {
		if _, err := p.Model.Rebuild(ctx, projections.RebuildConfig{}); err != nil {
			return err
		}
		credentials, err = p.Model.Unreadable(ctx)
	}
	for _, id := range credentials {
		if err == nil {
			_, err = p.Credentials.Revoke(ctx, itself(), id)
		}
	}
	return err
}
