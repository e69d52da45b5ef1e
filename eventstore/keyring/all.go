package keyring

import (
	"context"
	"errors"
	"iter"

	"konto/eventstore"
)

// NamedKey is an unwrapped key, or an id, as a store of keys has it under a name. 32 zeros are the
// tombstone of a key that was destroyed.
type NamedKey struct {
	Name string
	Key  []byte
}

// All iterates over everything that the keyring holds, to move it to another store of keys: the root
// key first, then the keys of streams, and the id of the log last. So what was moved in part is not
// bound to a log. Nobody may destroy keys meanwhile.
func (k *Keyring) All(ctx context.Context) iter.Seq2[NamedKey, error] {
	return func(yield func(NamedKey, error) bool) {
		one := func(name string) bool {
			key, err := k.load(ctx, name)
			if errors.Is(err, eventstore.ErrDestroyed) {
				key, err = make([]byte, keySize), nil
			}
			return yield(NamedKey{name, key}, err) && err == nil
		}
		if !one(RootName) {
			return
		}
		for after := ""; ; {
			names, err := k.names(ctx, after)
			if err != nil {
				yield(NamedKey{}, k.failed(err))
				return
			}
			if len(names) == 0 {
				break
			}
			for _, after = range names {
				if after != RootName && after != LogName && !one(after) {
					return
				}
			}
		}
		if bound, err := k.Bound(ctx); err != nil || bound {
			one(LogName)
		}
	}
}

// names returns a page of names after a name.
func (k *Keyring) names(ctx context.Context, after string) (names []string, err error) {
	rows, err := k.readers.QueryContext(ctx, "SELECT stream FROM keys WHERE stream > ? ORDER BY stream LIMIT ?", after, rewrapPage)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
