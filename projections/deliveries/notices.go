package deliveries

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// A notice is what has to be told of an account after its key is destroyed: in
// Payway's shapes an erased account is called by its Payway id. It is sealed with
// a key of its own purpose, and goes once nobody is to be told any more, or when
// no schedule lasts so long.
const (
	noticePurpose = "erasure notices"
	noticeLife    = 80 * time.Hour // the usual schedule takes 75
	noticeSweep   = time.Minute
)

// KeepNotice stores an account's Payway id, durably, before the account's key
// is destroyed. To store it again is harmless.
func (l *Ledger) KeepNotice(_ context.Context, account ulid.ULID, paywayID string) error {
	aead, err := l.noticeCipher()
	if err != nil {
		return err
	}
	sealed := aead.Seal(nil, nil, []byte(paywayID), noticeBinding(account))
	return l.change(func(t *transaction) error {
		_, err := t.keepNotice.Exec(account[:], sqlitefile.Milliseconds(t.now), sealed)
		return err
	})
}

// Notice implements webhook.Notices.
func (l *Ledger) Notice(ctx context.Context, account ulid.ULID) (paywayID string, ok bool, err error) {
	var sealed []byte
	err = l.readers.QueryRowContext(ctx, `SELECT content FROM notice WHERE account = ?`, account[:]).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, l.failed("read", err)
	}
	aead, err := l.noticeCipher()
	if err != nil {
		return "", false, err
	}
	clear, err := aead.Open(nil, nil, sealed, noticeBinding(account))
	if err != nil {
		return "", false, fmt.Errorf("notice of an erasure: %w", eventstore.ErrSealBroken)
	}
	return string(clear), true, nil
}

// DropNotices removes the notices that are too old, and those that needed says
// nobody needs any more. Their bytes are overwritten.
func (l *Ledger) DropNotices(ctx context.Context, needed func(ctx context.Context, account ulid.ULID) (bool, error)) error {
	kept, err := l.notices(ctx)
	if err != nil {
		return err
	}
	dropped := false
	oldest := sqlitefile.Milliseconds(l.cfg.Now().Add(-noticeLife))
	for account, at := range kept {
		if at > oldest {
			still, err := needed(ctx, account)
			if err != nil {
				return err
			}
			if still {
				continue
			}
		}
		err := l.change(func(t *transaction) error {
			_, err := t.dropNotice.Exec(account[:])
			return err
		})
		if err != nil {
			return err
		}
		dropped = true
	}
	if !dropped {
		return nil
	}
	return l.overwrite(ctx)
}

// notices lists the accounts with a notice, and when each was kept.
func (l *Ledger) notices(ctx context.Context) (map[ulid.ULID]int64, error) {
	rows, err := l.readers.QueryContext(ctx, `SELECT account, at FROM notice`)
	if err != nil {
		return nil, l.failed("read", err)
	}
	defer rows.Close()
	kept := map[ulid.ULID]int64{}
	for rows.Next() {
		var account ulid.ULID
		var at int64
		if err := rows.Scan(&account, &at); err != nil {
			return nil, l.failed("read", err)
		}
		kept[account] = at
	}
	return kept, l.failed("read", rows.Err())
}

func (l *Ledger) noticeCipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(l.cfg.Keys.Derive(noticePurpose))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func noticeBinding(account ulid.ULID) []byte { return []byte(noticePurpose + "|" + account.String()) }

// sweepNotices drops notices until ctx ends. One that cannot be dropped now is
// tried again, and goes when it is too old.
func (d *Deliveries) sweepNotices(ctx context.Context) {
	for {
		if err := d.cfg.Ledger.DropNotices(ctx, d.needsNotice); err != nil && ctx.Err() == nil {
			d.cfg.Log.Warn("notices of erasures are kept for longer", "error", err)
		}
		select {
		case <-time.After(noticeSweep):
		case <-ctx.Done():
			return
		}
	}
}

// needsNotice tells whether a third party is still to be told in a Payway shape
// that an account was erased.
func (d *Deliveries) needsNotice(ctx context.Context, account ulid.ULID) (bool, error) {
	head, err := d.cfg.Store.StreamHead(ctx, events.AccountStream(account))
	if err != nil || head.Version == 0 {
		return false, err
	}
	// Its erasure may not be in the log yet: the notice comes first.
	last, err := d.cfg.Store.ReadStream(ctx, events.AccountStream(account), head.Version-1, 1)
	if err != nil || len(last) != 1 || last[0].Type != events.TypeAccountErased {
		return true, err
	}
	parties, err := d.cfg.Parties.ThirdParties(ctx)
	if err != nil {
		return true, err
	}
	for i := range parties {
		if !ToldByPaywayID(&parties[i]) {
			continue
		}
		told, err := d.cfg.Ledger.isTold(ctx, &parties[i], account, head)
		if err != nil || !told {
			return true, err
		}
	}
	return false, nil
}

// ToldByPaywayID tells whether a third party hears of erasures in a shape that
// names the account by its Payway id.
func ToldByPaywayID(p *events.ThirdParty) bool {
	return (p.Format == events.FormatPayway || p.Format == events.FormatPaywaySSI) && p.Wants(events.TypeAccountErased)
}

// isTold tells whether a third party is done with an account's last event.
func (l *Ledger) isTold(ctx context.Context, p *events.ThirdParty, account ulid.ULID, last eventstore.StreamHead) (bool, error) {
	lane, ok, err := l.LaneOf(ctx, p.ID, account)
	if err != nil || ok && lane.Version >= last.Version {
		return err == nil, err
	}
	if ok && (lane.Attempts > 0 || lane.Behind) {
		return false, nil
	}
	position, known, err := l.Position(ctx, p.ID)
	if !known {
		position = p.Checkpoint
	}
	return err == nil && position >= last.Position, err
}
