package deliveries

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// This file keeps what is still needed of an account after its key is destroyed. Nothing
// else of the package depends on it, except Run, which starts deleteNoticesUntil.
//
//   - A notice is the account's Payway id. Payway's formats name an erased account by it.
//     It is deleted when every third party with such a format was sent the erasure, and
//     after noticeLife in any case.
//   - Names are what the account is called in messages of other systems. NATS may be
//     unreachable while the account is erased, and the messages about the account are
//     found by nothing else. The caller deletes them.
//
// Both are sealed with a key that is derived from the keyring, not with the account's.
const (
	erasurePurpose = "erasure notices"
	noticeLife     = 80 * time.Hour // the default retry schedule takes 75
	noticeEvery    = time.Minute
)

const (
	keepNoticeQuery = `INSERT INTO notice (account, at, content) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET content = excluded.content`
	deleteNoticeQuery = `DELETE FROM notice WHERE account = ?`
	keepNamesQuery    = `INSERT INTO called (account, content) VALUES (?, ?)
		ON CONFLICT DO UPDATE SET content = excluded.content`
	deleteNamesQuery = `DELETE FROM called WHERE account = ?`
)

func (s *Store) erasureCipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(s.cfg.Keys.Derive(erasurePurpose))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// A seal holds for one account and one of the two uses.
func noticeOf(account ulid.ULID) []byte { return []byte(erasurePurpose + "|" + account.String()) }
func namesOf(account ulid.ULID) []byte  { return []byte("names|" + account.String()) }

// KeepNotice stores an account's Payway id durably. It is called before the account's key
// is destroyed, and may be called again.
func (s *Store) KeepNotice(_ context.Context, account ulid.ULID, paywayID string) error {
	aead, err := s.erasureCipher()
	if err != nil {
		return err
	}
	sealed := aead.Seal(nil, nil, []byte(paywayID), noticeOf(account))
	return s.change(func(t *transaction) error {
		return t.exec(keepNoticeQuery, account[:], sqlitefile.Milliseconds(t.now), sealed)
	})
}

// Notice implements webhook.Notices.
func (s *Store) Notice(ctx context.Context, account ulid.ULID) (paywayID string, ok bool, err error) {
	var sealed []byte
	err = s.readers.QueryRowContext(ctx, `SELECT content FROM notice WHERE account = ?`, account[:]).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, s.failed("read", err)
	}
	aead, err := s.erasureCipher()
	if err != nil {
		return "", false, err
	}
	clear, err := aead.Open(nil, nil, sealed, noticeOf(account))
	if err != nil {
		return "", false, fmt.Errorf("notice of an erasure: %w", eventstore.ErrSealBroken)
	}
	return string(clear), true, nil
}

// DropNotices deletes the notices that are too old, and those of which needed says that
// they are no longer needed. Their bytes are overwritten.
func (s *Store) DropNotices(ctx context.Context, needed func(ctx context.Context, account ulid.ULID) (bool, error)) error {
	kept, err := s.notices(ctx)
	if err != nil {
		return err
	}
	deleted := false
	oldest := sqlitefile.Milliseconds(s.cfg.Now().Add(-noticeLife))
	for account, at := range kept {
		if at > oldest {
			if still, err := needed(ctx, account); err != nil {
				return err
			} else if still {
				continue
			}
		}
		if err := s.change(func(t *transaction) error { return t.exec(deleteNoticeQuery, account[:]) }); err != nil {
			return err
		}
		deleted = true
	}
	if !deleted {
		return nil
	}
	return s.flushDeleted(ctx)
}

// notices returns when each notice was kept, by account.
func (s *Store) notices(ctx context.Context) (map[ulid.ULID]int64, error) {
	kept := map[ulid.ULID]int64{}
	err := s.each(ctx, func(rows *sql.Rows) error {
		var account ulid.ULID
		var at int64
		err := rows.Scan(&account, &at)
		kept[account] = at
		return err
	}, `SELECT account, at FROM notice`)
	return kept, err
}

// KeepNames stores what an account is called. It is called before the account's key is
// destroyed; a later call replaces the names.
func (s *Store) KeepNames(_ context.Context, account ulid.ULID, names []string) error {
	aead, err := s.erasureCipher()
	if err != nil {
		return err
	}
	clear, err := json.Marshal(names)
	if err != nil {
		return fmt.Errorf("keep an erased account's names: %w", err)
	}
	sealed := aead.Seal(nil, nil, clear, namesOf(account))
	return s.change(func(t *transaction) error { return t.exec(keepNamesQuery, account[:], sealed) })
}

// Names returns all names that are kept, by account.
func (s *Store) Names(ctx context.Context) (map[ulid.ULID][]string, error) {
	aead, err := s.erasureCipher()
	if err != nil {
		return nil, err
	}
	all := map[ulid.ULID][]string{}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var account ulid.ULID
		var sealed []byte
		if err := rows.Scan(&account, &sealed); err != nil {
			return err
		}
		var names []string
		clear, err := aead.Open(nil, nil, sealed, namesOf(account))
		if err != nil || json.Unmarshal(clear, &names) != nil {
			return fmt.Errorf("names of an erased account: %w", eventstore.ErrSealBroken)
		}
		all[account] = names
		return nil
	}, `SELECT account, content FROM called`)
	return all, err
}

// DropNames deletes an account's names and overwrites their bytes.
func (s *Store) DropNames(ctx context.Context, account ulid.ULID) error {
	if err := s.change(func(t *transaction) error { return t.exec(deleteNamesQuery, account[:]) }); err != nil {
		return err
	}
	return s.flushDeleted(ctx)
}

// deleteNoticesUntil deletes notices until ctx ends. A notice that cannot be deleted now
// is tried again a minute later.
func (d *Deliveries) deleteNoticesUntil(ctx context.Context) {
	for {
		if err := d.cfg.DB.DropNotices(ctx, d.needsNotice); err != nil && ctx.Err() == nil {
			d.cfg.Log.Warn("notices of erasures are kept for longer", "error", err)
		}
		select {
		case <-time.After(noticeEvery):
		case <-ctx.Done():
			return
		}
	}
}

// needsNotice reports whether the erasure of an account still has to be sent to a third
// party in one of Payway's formats.
func (d *Deliveries) needsNotice(ctx context.Context, account ulid.ULID) (bool, error) {
	head, err := d.cfg.Store.StreamHead(ctx, events.AccountStream(account))
	if err != nil || head.Version == 0 {
		return false, err
	}
	// The notice is kept before the erasure is in the log.
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
		done, err := d.cfg.DB.isDone(ctx, &parties[i], account, head)
		if err != nil || !done {
			return true, err
		}
	}
	return false, nil
}

// ToldByPaywayID reports whether a third party is sent erasures in a format that names
// the account by its Payway id.
func ToldByPaywayID(p *events.ThirdParty) bool {
	return (p.Format == events.FormatPayway || p.Format == events.FormatPaywaySSI) && p.Wants(events.TypeAccountErased)
}

// isDone reports whether a third party is done with an account's last event.
func (s *Store) isDone(ctx context.Context, p *events.ThirdParty, account ulid.ULID, last eventstore.StreamHead) (bool, error) {
	d, ok, err := s.Delivery(ctx, p.ID, account)
	if err != nil || ok && d.Version >= last.Version {
		return err == nil, err
	}
	if ok && d.waits() {
		return false, nil
	}
	position, known, err := s.Position(ctx, p.ID)
	if !known {
		position = p.Checkpoint
	}
	return err == nil && position >= last.Position, err
}
