package deliveries

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/eventstore"
)

// KeepNames stores what an account is called, durably, before its key is destroyed:
// where others' messages are kept that cannot be reached now, such as NATS, those
// about the account are found by nothing else. They are sealed as a notice is, and
// the caller drops them.
func (l *Ledger) KeepNames(_ context.Context, account ulid.ULID, names []string) error {
	aead, err := l.noticeCipher()
	if err != nil {
		return err
	}
	clear, err := json.Marshal(names)
	if err != nil {
		return fmt.Errorf("keep an erased account's names: %w", err)
	}
	sealed := aead.Seal(nil, nil, clear, namesBinding(account))
	return l.change(func(t *transaction) error {
		_, err := t.keepNames.Exec(account[:], sealed)
		return err
	})
}

// Names returns the names that are kept, by account.
func (l *Ledger) Names(ctx context.Context) (map[ulid.ULID][]string, error) {
	aead, err := l.noticeCipher()
	if err != nil {
		return nil, err
	}
	rows, err := l.readers.QueryContext(ctx, `SELECT account, content FROM called`)
	if err != nil {
		return nil, l.failed("read", err)
	}
	defer rows.Close()
	all := map[ulid.ULID][]string{}
	for rows.Next() {
		var account ulid.ULID
		var sealed []byte
		if err := rows.Scan(&account, &sealed); err != nil {
			return nil, l.failed("read", err)
		}
		var names []string
		clear, err := aead.Open(nil, nil, sealed, namesBinding(account))
		if err != nil || json.Unmarshal(clear, &names) != nil {
			return nil, fmt.Errorf("names of an erased account: %w", eventstore.ErrSealBroken)
		}
		all[account] = names
	}
	return all, l.failed("read", rows.Err())
}

// DropNames removes an account's names and overwrites their bytes.
func (l *Ledger) DropNames(ctx context.Context, account ulid.ULID) error {
	err := l.change(func(t *transaction) error {
		_, err := t.dropNames.Exec(account[:])
		return err
	})
	if err != nil {
		return err
	}
	return l.overwrite(ctx)
}

func namesBinding(account ulid.ULID) []byte { return []byte("names|" + account.String()) }
