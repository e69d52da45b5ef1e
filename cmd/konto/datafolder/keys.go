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

// openLogAndKeys opens the log and the keys, and refuses one of them if the other is lost,
// empty or of another log. Otherwise konto would go on without its past, or would compute
// other hashes for claims and so give one email address to two accounts.
func (f *Folder) openLogAndKeys(ctx context.Context, log, keys string, master keyring.Master) (err error) {
	if !Missing(keys) {
		err := f.openKeys(ctx, keys, master)
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
	opened, err := sqlite.Open(ctx, log)
	if err != nil {
		return err
	}
	f.Log = opened // not before; see openKeys
	head, err := f.Log.Head(ctx)
	if err != nil {
		return err
	}
	if f.Keys == nil {
		if head > 0 {
			return fmt.Errorf("%s is missing, without which %s cannot be read; put its copy there with konto keys restore", keys, log)
		}
		if err := f.openKeys(ctx, keys, master); err != nil {
			return err
		}
	}
	if err := f.bind(ctx, head); err != nil {
		return fmt.Errorf("%s does not fit: %w", log, err)
	}
	f.Store = eventstore.NewStore(f.Log, f.Keys)
	return nil
}

// openKeys sets Keys if they can be opened: an interface that holds a nil pointer is not nil.
func (f *Folder) openKeys(ctx context.Context, path string, master keyring.Master) error {
	keys, err := master.Open(ctx, path)
	if err != nil {
		return err
	}
	f.Keys = keys
	return nil
}

func (f *Folder) bind(ctx context.Context, head uint64) error {
	id, err := f.Log.ID(ctx)
	if err != nil {
		return err
	}
	return f.Keys.Bind(ctx, id, head == 0)
}

// How much of the log checkNewestKeys looks at.
const (
	newestStreams = 100 // of each category
	newestRecords = 100
)

// checkNewestKeys refuses keys that are older than the log. An older copy of keys.db lacks the
// keys of newer streams, and a key is made just before its stream. So it looks at the streams
// with the highest ids and, in case a clock was set back, at those of the last records. The
// very last stream is not enough: keys that are made at the same time reach the log in another
// order. This takes milliseconds however long the log is; konto verify looks at every stream.
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
			// Any other fault belongs to this one event, and the followers report it.
			if err := CheckKey(ctx, f.Keys, r); errors.Is(err, eventstore.ErrNoKey) {
				return err
			}
		}
	}
	return nil
}

// CheckKey returns an error if a record begins a stream whose key is missing. A destroyed key
// is not missing.
func CheckKey(ctx context.Context, keys eventstore.Keys, r eventstore.Record) error {
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
