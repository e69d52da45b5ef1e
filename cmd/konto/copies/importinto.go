package copies

import (
	"bytes"
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/transfer"
)

// ImportLog is a log without records that knows that an import fills it. It is not used before
// FinishImport, and a repeated import begins with an empty log; see postgres.OpenImport.
type ImportLog interface {
	eventstore.AdminLog
	FinishImport(ctx context.Context) error
}

// Keys are the keys of a log that is imported.
type Keys interface {
	transfer.Keys
	// Bind is that of keyring.Keyring.
	Bind(ctx context.Context, log []byte, empty bool) error
}

// errClearAfterEncrypted keeps two logs with one id from being made.
var errClearAfterEncrypted = errors.New("an encrypted import of the same log into this database has not ended: repeat that one, or take an empty database and empty keys")

// ImportInto fills a log and its keys from an export, checks the log, and compares it with the
// export. If the export is encrypted, the keys are those of its log already; see ImportKeys.
// Otherwise they are new. It returns the end of the export. After an error the log holds a part of
// the export: open it again to repeat the import.
func ImportInto(ctx context.Context, log ImportLog, keys Keys, from *transfer.Reader, progress Progress) (end transfer.End, err error) {
	if !from.Header().Encrypted {
		id, err := log.ID(ctx)
		if err != nil {
			return end, err
		}
		if bytes.Equal(id, from.Header().Log) {
			return end, errClearAfterEncrypted
		}
	}
	if end, err = fill(ctx, log, keys, from, progress); err != nil {
		return end, err
	}
	if err := log.CheckStorage(ctx); err != nil {
		return end, err
	}
	if err := log.CheckChain(ctx, progress); err != nil {
		return end, err
	}
	head, err := log.Head(ctx)
	if err != nil {
		return end, err
	}
	found, err := log.Extent(ctx, head)
	if err != nil {
		return end, err
	}
	if err := compare(found, end, from); err != nil {
		return end, err
	}
	return end, log.FinishImport(ctx)
}

// KeyTarget is a store of keys that gets the keys of a keyring.
type KeyTarget interface {
	// Put stores a key under a name, durably. It replaces a root key while no stream has a key, and
	// then the keys are bound to no log. A name that has the same key already is not an error, a
	// name that has another key is. See keyring.NamedKey for the names and for destroyed keys. Put
	// may be called concurrently.
	Put(ctx context.Context, name string, key []byte) error
}

// movedAtOnce is how many keys are stored at once. They share the commits of their target.
const movedAtOnce = 256

// ImportKeys copies all keys of a keyring, tombstones included, into another store, and returns how
// many there are. After an error the other store is bound to no log; repeat the call. Nobody may use
// the keyring meanwhile.
func ImportKeys(ctx context.Context, from *keyring.Keyring, to KeyTarget) (n uint64, err error) {
	var streams []keyring.NamedKey
	for key, err := range from.All(ctx) {
		if err != nil {
			return n, err
		}
		n++
		_, _, other := events.Stream(key.Name).Split()
		if other == nil {
			streams = append(streams, key)
		}
		if other != nil || len(streams) == 16*movedAtOnce {
			if err := putAll(ctx, to, streams); err != nil {
				return n, err
			}
			streams = streams[:0]
		}
		if other != nil { // the root key, before all others, or the id of the log, after them
			if err := to.Put(ctx, key.Name, key.Key); err != nil {
				return n, err
			}
		}
	}
	return n, putAll(ctx, to, streams)
}

func putAll(ctx context.Context, to KeyTarget, keys []keyring.NamedKey) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(movedAtOnce)
	for _, key := range keys {
		group.Go(func() error { return to.Put(ctx, key.Name, key.Key) })
	}
	return group.Wait()
}
