package keyring

import "context"

// Count returns how many keys the file holds: those of streams, destroyed ones
// included, and the keyring's own.
func (k *Keyring) Count(ctx context.Context) (n uint64, err error) {
	if err := k.readers.QueryRowContext(ctx, "SELECT count(*) FROM keys").Scan(&n); err != nil {
		return 0, k.failed(err)
	}
	return n, nil
}
