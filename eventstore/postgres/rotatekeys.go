package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"konto/eventstore/keyring"
)

// Rotate wraps all keys with the next master key, while nodes use them:
//
//	                 new keys are wrapped by   a node needs
//	before           present                   present
//	root key         next                      both
//	1,000 rows, ...  next                      both
//	all, VACUUM      next                      next
//
// Before it is called, every node must have the next master key too. Afterwards it becomes the
// present one of every node. A node that lacks the next one gets keyring.ErrWrongMaster for rows
// that it wraps. After an error or a crash, keep both and call Rotate again: it goes on where it
// stopped. Errors: keyring.ErrNoNext, eventstore.ErrDamagedKey for a row that cannot be unwrapped.
func (k *Keys) Rotate(ctx context.Context) error {
	if len(k.masters) < 2 {
		return fmt.Errorf("rotate master key: %w, or put it into master.key.next", keyring.ErrNoNext)
	}
	clean, err := k.vacuumOnce(ctx, false)
	if err == nil {
		_, err = k.rewrap(ctx, clean, `name = $2`, keyring.RootName)
	}
	for after, more := "", err == nil; more; {
		after, err = k.rewrap(ctx, clean, fmt.Sprintf(`name > $2 ORDER BY name LIMIT %d`, keysPage), after)
		more = err == nil && after != ""
	}
	if err == nil {
		err = k.vacuum(ctx)
	}
	if err != nil {
		return fmt.Errorf("rotate master key: %w", inKeys(err))
	}
	return nil
}

// rewrap wraps rows with the next master key, of those that are wrapped with another. It returns
// the name of the last one, "" if there was none. clean is as in replace.
func (k *Keys) rewrap(ctx context.Context, clean bool, where, name string) (last string, err error) {
	next := k.masters[1]
	id := next.ID()
	err = k.write(ctx, func(tx pgx.Tx) error {
		last = ""
		rows, err := lockKeys(ctx, tx, `master <> $1 AND `+where, id[:], name)
		if err != nil {
			return err
		}
		return k.replace(ctx, tx, next, clean, rows, func(r storedKey) ([]byte, error) {
			last = r.name
			return k.unwrap(r)
		})
	})
	return last, err
}
