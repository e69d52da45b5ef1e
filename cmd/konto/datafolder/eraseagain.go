package datafolder

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// ApplyErasures finishes erasures that were interrupted, and erases accounts again that
// restored files brought back, before anybody is answered from these files. It takes the
// accounts from the list of erasures, and from the read model in case the list is lost or old:
// the read model has the accounts whose last event is AccountErased, and those whose keys are
// destroyed.
//
// An erasure that cannot be finished now, for example because the read model cannot be
// written, does not keep konto from starting. But its key is destroyed in any case, or
// ApplyErasures returns an error. inbound is nil if no server runs.
func (f *Folder) ApplyErasures(ctx context.Context, log *slog.Logger, caughtUp func(context.Context) error, inbound InboundMessages) error {
	if log == nil {
		log = slog.Default()
	}
	f.erasing.Lock()
	defer f.erasing.Unlock()
	mails, err := fs.Glob(os.DirFS(f.Path), MailName+"/*")
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
		if done && len(mails) > 0 { // one may have been written during the erasure
			if err := f.deleteMails(ctx, id); err != nil {
				return err
			}
		}
		if done {
			continue
		}
		e := &Erasure{Folder: f, Account: id, Meta: Itself(), Again: true, CatchUp: caughtUp, Inbound: inbound}
		if err := e.runAgain(ctx); err != nil {
			f.Store.Evict(e.stream()) // so that nobody gets its decrypted events after the key is gone
			if err := f.Keys.Destroy(ctx, e.stream()); err != nil {
				return err
			}
			log.Error("the erasure of an account is not finished, the next start tries again", "account", id, "error", err)
		}
	}
	return nil
}

// runAgain is Run in a folder where older keys may have been restored. A read model that was
// made before then knows neither what they read nor whose the credentials are.
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

// IsErased reports whether nothing is left to do: the erasure has a proof, the account's key
// is destroyed, and the log does not know the account or its last event is AccountErased.
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
