package datafolder

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// ApplyErasures holds all erasures that are known of against the files, before
// anybody answers from them: one that was interrupted is finished, and one that
// a restored log or keyring knows nothing of is done again. They are known from
// their ledger, and from the read model, should the ledger be lost or an older one: it
// has the accounts that the log calls erased, and those whose keys are destroyed.
//
// One that cannot be finished now, such as while the read model has nowhere to be
// written, keeps nobody from starting konto: but the account's key is destroyed
// in any case, or there is an error. inbound is the server's, nil where none runs.
func (f *Folder) ApplyErasures(ctx context.Context, log *slog.Logger, caughtUp func(context.Context) error, inbound InboundMessages) error {
	if log == nil {
		log = slog.Default()
	}
	f.erasing.Lock()
	defer f.erasing.Unlock()
	letters, err := filepath.Glob(filepath.Join(f.Path, MailName, "*"))
	if err != nil {
		return err
	}
	known, err := f.Model.Erased(ctx)
	if err != nil {
		return err
	}
	known = append(known, f.Erasures.all()...)
	slices.SortFunc(known, ulid.ULID.Compare)
	for _, id := range slices.Compact(known) {
		done, err := f.IsErased(ctx, id)
		if err != nil {
			return err
		}
		if done && len(letters) > 0 { // one may have been under way at the erasure
			if err := f.deleteMails(ctx, id); err != nil {
				return err
			}
		}
		if done {
			continue
		}
		e := &Erasure{Folder: f, Account: id, Meta: Itself(), Again: true, CatchUp: caughtUp, Inbound: inbound}
		if err := e.runAgain(ctx); err != nil {
			f.Store.Forget(e.stream()) // whose clear events nobody is given once the key is gone
			if err := f.Keys.Destroy(ctx, e.stream()); err != nil {
				return err
			}
			log.Error("the erasure of an account is not finished, the next start tries again", "account", id, "error", err)
		}
	}
	return nil
}

// runAgain is Run in a folder where older keys may have been put back: a read model that
// was made since can tell neither what they read nor whose the credentials are.
func (e *Erasure) runAgain(ctx context.Context) error {
	err := e.Run(ctx)
	if !errors.Is(err, eventstore.ErrSealBroken) {
		return err
	}
	if _, rebuilt := e.Folder.Model.Rebuild(ctx, projections.RebuildConfig{}); rebuilt != nil {
		return errors.Join(err, rebuilt)
	}
	return e.Run(ctx)
}

// IsErased tells whether nothing is left to do: the erasure was proven, the log
// does not know the account or knows of its end, and its key is destroyed.
func (f *Folder) IsErased(ctx context.Context, id ulid.ULID) (bool, error) {
	if known, _ := f.Erasures.Of(id); known.Proof == "" {
		return false, nil
	}
	stream := events.AccountStream(id)
	_, err := f.Keys.Cipher(ctx, stream)
	if !errors.Is(err, eventstore.ErrDestroyed) {
		if errors.Is(err, eventstore.ErrNoKey) {
			err = nil
		}
		return false, err
	}
	head, err := f.Log.StreamHead(ctx, stream)
	if err != nil || head.Version == 0 {
		return err == nil, err
	}
	last, err := f.Log.ReadStream(ctx, stream, head.Version-1, 1)
	return len(last) == 1 && last[0].Type == events.TypeAccountErased, err
}

// CatchUpAlone brings the read model to the log's end while nobody follows it.
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
