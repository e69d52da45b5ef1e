package datafolder

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
	"konto/eventstore/sqlitefile"
)

// openLogAndKeys opens the two files that belong together, and refuses one
// whose fellow was lost, emptied or exchanged: konto would go on without a past,
// or would give claims another hash and so an email address to two accounts.
func (f *Folder) openLogAndKeys(ctx context.Context, log, keys string, master keyring.Master) (err error) {
	if !Missing(keys) {
		f.Keys, err = master.Open(ctx, keys)
		if errors.Is(err, sqlitefile.ErrForeignWAL) {
			return fmt.Errorf("%w; put its copy there with konto keys restore", err)
		}
		if err != nil {
			return err
		}
		bound, err := f.Keys.Bound(ctx)
		if err != nil {
			return err
		}
		if bound && Missing(log) {
			return fmt.Errorf("%s is missing, whose keys are in %s; restore it", log, keys)
		}
	}
	if f.Log, err = sqlite.Open(ctx, log); err != nil {
		return err
	}
	head, err := f.Log.Head(ctx)
	if err != nil {
		return err
	}
	if f.Keys == nil {
		if head > 0 {
			return fmt.Errorf("%s is missing, without which %s cannot be read; put its copy there with konto keys restore", keys, log)
		}
		if f.Keys, err = master.Open(ctx, keys); err != nil {
			return err
		}
	}
	if err := f.bind(ctx, head); err != nil {
		return fmt.Errorf("%s does not fit: %w", log, err)
	}
	f.Store = eventstore.NewStore(f.Log, f.Keys)
	return nil
}

func (f *Folder) bind(ctx context.Context, head uint64) error {
	id, err := f.Log.ID(ctx)
	if err != nil {
		return err
	}
	return f.Keys.Bind(ctx, id, head == 0)
}

// Where checkNewestKeys looks.
const (
	newestStreams = 100 // of each category
	newestRecords = 100
)

// checkNewestKeys finds out keys that are older than the log. A copy of keys.db from
// before lacks what was made since, and a key is made just before its stream: so the
// newest streams tell, those with the highest ids and, should a clock have been set
// back, those of the last records. One alone would not do: keys that are made
// side by side come to the log in another order. It takes milliseconds, however long the
// log is; konto verify looks at every stream.
func (f *Folder) checkNewestKeys(ctx context.Context) error {
	head, err := f.Log.Head(ctx)
	if err != nil {
		return err
	}
	last, err := f.Log.ReadAll(ctx, head-min(head, newestRecords), newestRecords)
	if err != nil {
		return err
	}
	var newest []events.Stream
	for _, r := range last {
		newest = append(newest, r.Stream)
	}
	for _, category := range []string{events.CategoryAccount, events.CategoryCredential, events.CategoryThirdParty} {
		streams, err := f.Log.NewestStreams(ctx, category, newestStreams)
		if err != nil {
			return err
		}
		newest = append(newest, streams...)
	}
	slices.Sort(newest)
	for _, stream := range slices.Compact(newest) {
		first, err := f.Log.ReadStream(ctx, stream, 0, 1)
		if err != nil {
			return err
		}
		for _, r := range first {
			// Another fault is the event's own: the followers report it.
			if err := CheckKey(ctx, f.Keys, r); errors.Is(err, eventstore.ErrNoKey) {
				return err
			}
		}
	}
	return nil
}

// CheckKey looks at the events that begin streams.
func CheckKey(ctx context.Context, keys *keyring.Keyring, r eventstore.Record) error {
	if r.Version != 1 || !events.Sealed(r.Type) {
		return nil
	}
	_, err := keys.Cipher(ctx, r.Stream)
	switch {
	case errors.Is(err, eventstore.ErrDestroyed):
		return nil
	case errors.Is(err, eventstore.ErrNoKey):
		return fmt.Errorf("the keys are older than the log's position %d: %w", r.Position, err)
	}
	return err
}
