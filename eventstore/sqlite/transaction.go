package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"konto/events"
	"konto/eventstore"
)

// expiredLimit is how many expired receipts a transaction deletes at least, if there are so
// many. Each costs some 10 microseconds.
const expiredLimit = 16

// statements are prepared once. Only this file runs them.
type statements struct {
	version, insert, holder, take, release                            *sql.Stmt
	receipt, addReceipt, dropReceipts, expireReceipts, earliestExpiry *sql.Stmt
}

func prepareStatements(ctx context.Context, db *sql.DB) (s statements, err error) {
	for text, statement := range map[string]**sql.Stmt{
		`SELECT version FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1`: &s.version,
		`INSERT INTO events (position, stream, version, id, type, time, metadata, data, hash)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`: &s.insert,
		// The row of the stream itself comes first, because several streams may hold a key.
		`SELECT stream FROM claims WHERE key = ? ORDER BY stream <> ?, stream LIMIT 1`: &s.holder,
		`INSERT INTO claims (key, stream) VALUES (?, ?)`:                               &s.take,
		`DELETE FROM claims WHERE key = ? AND stream = ?`:                              &s.release,
		`SELECT stream FROM receipts WHERE key = ? AND expires > ?`:                    &s.receipt,
		// An existing one has expired, otherwise the batch would have been refused.
		`INSERT OR REPLACE INTO receipts (key, stream, data, expires) VALUES (?, ?, ?, ?)`:        &s.addReceipt,
		`DELETE FROM receipts WHERE stream = ?`:                                                   &s.dropReceipts,
		`DELETE FROM receipts WHERE key IN (SELECT key FROM receipts WHERE expires <= ? LIMIT ?)`: &s.expireReceipts,
		`SELECT coalesce(min(expires), ?) FROM receipts`:                                          &s.earliestExpiry,
	} {
		if *statement, err = db.PrepareContext(ctx, text); err != nil {
			return s, err
		}
	}
	return s, nil
}

// in returns the statements for use in a transaction.
func (s statements) in(tx *sql.Tx) statements {
	return statements{
		version: tx.Stmt(s.version), insert: tx.Stmt(s.insert),
		holder: tx.Stmt(s.holder), take: tx.Stmt(s.take), release: tx.Stmt(s.release),
		receipt: tx.Stmt(s.receipt), addReceipt: tx.Stmt(s.addReceipt), dropReceipts: tx.Stmt(s.dropReceipts),
		expireReceipts: tx.Stmt(s.expireReceipts), earliestExpiry: tx.Stmt(s.earliestExpiry),
	}
}

// transaction is under way. It sees its own changes, so a batch is checked against those
// before it in the group.
type transaction struct {
	statements
	tip      tip
	now      int64 // milliseconds since 1970, the same for all batches
	receipts int   // how many were added
	due      int64 // no receipt expires before this time
	heads    *streamHeads
	changed  map[events.Stream]eventstore.StreamHead // by this transaction
}

// append stores a batch, or refuses it without a change and sets the error of the append. If
// it returns an error itself, the transaction must be rolled back.
func (t *transaction) append(p *pending) (err error) {
	b := &p.batch
	if p.err, err = t.refuse(b); err != nil || p.err != nil {
		return err
	}
	for _, op := range b.Claims {
		if err := t.claim(op, b.Stream); err != nil {
			return err
		}
	}
	for i := range b.Records {
		if err := t.store(&b.Records[i]); err != nil {
			return err
		}
		p.last = t.tip.position
	}
	if b.DropReceipts {
		if _, err := t.dropReceipts.Exec(b.Stream); err != nil {
			return err
		}
	}
	for _, r := range b.Receipts {
		if _, err := t.addReceipt.Exec(r.Key[:], b.Stream, notNull(r.Data), r.Expires.UnixMilli()); err != nil {
			return err
		}
		t.receipts++
		t.due = min(t.due, r.Expires.UnixMilli())
	}
	return nil
}

// refuse checks everything before anything is changed.
func (t *transaction) refuse(b *eventstore.Batch) (refusal, err error) {
	for _, r := range b.Receipts {
		var stream events.Stream
		switch err := t.receipt.QueryRow(r.Key[:], t.now).Scan(&stream); {
		case err == nil:
			return &eventstore.Repeated{Key: r.Key, Stream: stream}, nil
		case !errors.Is(err, sql.ErrNoRows):
			return nil, err
		}
	}
	actual, err := t.versionOf(b.Stream)
	if err != nil {
		return nil, err
	}
	if actual != b.Expected {
		return &eventstore.VersionConflict{Stream: b.Stream, Expected: b.Expected, Actual: actual}, nil
	}
	for _, op := range b.Claims {
		if op.Release {
			continue
		}
		holder, err := t.holderOf(op.Key, b.Stream)
		if err != nil {
			return nil, err
		}
		if holder != "" && holder != b.Stream {
			return &eventstore.ClaimTaken{Key: op.Key, Holder: holder}, nil
		}
	}
	return nil, nil
}

// versionOf returns the version of a stream in this transaction.
func (t *transaction) versionOf(stream events.Stream) (version uint64, err error) {
	if head, ok := t.changed[stream]; ok {
		return head.Version, nil
	}
	if head, ok := t.heads.get(stream); ok {
		return head.Version, nil
	}
	err = t.version.QueryRow(stream).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return version, err
}

// claim makes a change that refuse has allowed.
func (t *transaction) claim(op eventstore.ClaimOp, stream events.Stream) error {
	if op.Release {
		_, err := t.release.Exec(op.Key[:], stream)
		return err
	}
	// Query again: the operations before this one may have taken or released the key.
	holder, err := t.holderOf(op.Key, stream)
	if err != nil || holder == stream {
		return err
	}
	_, err = t.take.Exec(op.Key[:], stream)
	return err
}

// holderOf returns who holds a key. It returns the asking stream if that is among the holders.
func (t *transaction) holderOf(key eventstore.ClaimKey, asking events.Stream) (holder events.Stream, err error) {
	err = t.holder.QueryRow(key[:], asking).Scan(&holder)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return holder, err
}

// store inserts the record that follows the tip, and sets its position.
func (t *transaction) store(r *eventstore.Record) error {
	r.Position = t.tip.position + 1
	hash := eventstore.ChainHash(t.tip.hash, *r)
	_, err := t.insert.Exec(r.Position, r.Stream, r.Version, r.ID[:], r.Type, r.Time.UnixMilli(),
		notNull(r.Metadata), notNull(r.Data), hash[:])
	if err != nil {
		return err
	}
	t.tip = tip{position: r.Position, hash: hash}
	t.changed[r.Stream] = eventstore.StreamHead{Version: r.Version, Position: r.Position}
	return nil
}

// deleteExpired deletes some expired receipts: more than were added, so that they do not pile
// up, and so few that no append waits. Most transactions know that no receipt has expired. A
// query each time took 5 % of an append's processor time.
func (t *transaction) deleteExpired() error {
	if t.now < t.due {
		return nil
	}
	if _, err := t.expireReceipts.Exec(t.now, expiredLimit+2*t.receipts); err != nil {
		return err
	}
	return t.earliestExpiry.QueryRow(math.MaxInt64).Scan(&t.due)
}

// notNull replaces nil, which the driver would store as NULL.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// readTip reads the end of the chain.
func readTip(db *sql.DB) (t tip, err error) {
	var hash []byte
	err = db.QueryRow(`SELECT position, hash FROM events ORDER BY position DESC LIMIT 1`).Scan(&t.position, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return tip{}, nil
	}
	copy(t.hash[:], hash)
	return t, err
}
