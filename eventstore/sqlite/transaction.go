package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"konto/events"
	"konto/eventstore"
)

// sweepLimit is how many expired receipts a transaction removes at least, if
// there are as many. Each costs some 10 microseconds.
const sweepLimit = 16

// statements are the writer's, prepared once. This file alone runs them.
type statements struct {
	version, insert, holder, take, release  *sql.Stmt
	repeated, leave, forget, drop, earliest *sql.Stmt
}

func prepareStatements(ctx context.Context, db *sql.DB) (s statements, err error) {
	for text, statement := range map[string]**sql.Stmt{
		`SELECT version FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1`: &s.version,
		`INSERT INTO events (position, stream, version, id, type, time, metadata, data, hash)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`: &s.insert,
		// Its own row first: a stream may hold a key together with others.
		`SELECT stream FROM claims WHERE key = ? ORDER BY stream <> ?, stream LIMIT 1`: &s.holder,
		`INSERT INTO claims (key, stream) VALUES (?, ?)`:                               &s.take,
		`DELETE FROM claims WHERE key = ? AND stream = ?`:                              &s.release,
		`SELECT stream FROM receipts WHERE key = ? AND expires > ?`:                    &s.repeated,
		// One that is there has expired, else the batch would have been refused.
		`INSERT OR REPLACE INTO receipts (key, stream, data, expires) VALUES (?, ?, ?, ?)`:        &s.leave,
		`DELETE FROM receipts WHERE stream = ?`:                                                   &s.drop,
		`DELETE FROM receipts WHERE key IN (SELECT key FROM receipts WHERE expires <= ? LIMIT ?)`: &s.forget,
		`SELECT coalesce(min(expires), ?) FROM receipts`:                                          &s.earliest,
	} {
		if *statement, err = db.PrepareContext(ctx, text); err != nil {
			return s, err
		}
	}
	return s, nil
}

// in binds the statements to a transaction, for whose length they are valid.
func (s statements) in(tx *sql.Tx) statements {
	return statements{
		version: tx.Stmt(s.version), insert: tx.Stmt(s.insert),
		holder: tx.Stmt(s.holder), take: tx.Stmt(s.take), release: tx.Stmt(s.release),
		repeated: tx.Stmt(s.repeated), leave: tx.Stmt(s.leave), forget: tx.Stmt(s.forget), drop: tx.Stmt(s.drop),
		earliest: tx.Stmt(s.earliest),
	}
}

// transaction is one that is under way. It sees its own changes, so a batch is
// judged by what those before it in the group did.
type transaction struct {
	statements
	tip   tip
	now   int64 // milliseconds since 1970, one time for all that it decides
	left  int   // receipts so far
	due   int64 // no receipt expires before that time
	heads *heads
	ends  map[events.Stream]eventstore.StreamHead // of the streams that it changed
}

// append stores a batch, or refuses it without a trace: a verdict with an
// error. Any other error is the file's and spoils the transaction.
func (t *transaction) append(b eventstore.Batch) (verdict, error) {
	refusal, err := t.refuse(b)
	if err != nil || refusal != nil {
		return verdict{err: refusal}, err
	}
	for _, op := range b.Claims {
		if err := t.claim(op, b.Stream); err != nil {
			return verdict{}, err
		}
	}
	for _, r := range b.Records {
		if err := t.store(r); err != nil {
			return verdict{}, err
		}
	}
	if b.DropReceipts {
		if _, err := t.drop.Exec(b.Stream); err != nil {
			return verdict{}, err
		}
	}
	for _, r := range b.Receipts {
		if _, err := t.leave.Exec(r.Key[:], b.Stream, present(r.Data), r.Expires.UnixMilli()); err != nil {
			return verdict{}, err
		}
		t.left++
		t.due = min(t.due, r.Expires.UnixMilli())
	}
	if len(b.Records) == 0 {
		return verdict{}, nil
	}
	return verdict{last: t.tip.position}, nil
}

// refuse checks all that can speak against a batch before anything is changed.
func (t *transaction) refuse(b eventstore.Batch) (refusal, err error) {
	for _, r := range b.Receipts {
		var stream events.Stream
		switch err := t.repeated.QueryRow(r.Key[:], t.now).Scan(&stream); {
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

// versionOf tells at which version a stream is, this transaction's changes included.
func (t *transaction) versionOf(stream events.Stream) (version uint64, err error) {
	if end, ok := t.ends[stream]; ok {
		return end.Version, nil
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

// claim makes a change that refuse let pass.
func (t *transaction) claim(op eventstore.ClaimOp, stream events.Stream) error {
	if op.Release {
		_, err := t.release.Exec(op.Key[:], stream)
		return err
	}
	// Asked again: operations before this one may have taken or released the key.
	holder, err := t.holderOf(op.Key, stream)
	if err != nil || holder == stream {
		return err
	}
	_, err = t.take.Exec(op.Key[:], stream)
	return err
}

// holderOf returns who holds a key: its asker, if it is among the holders.
func (t *transaction) holderOf(key eventstore.ClaimKey, asker events.Stream) (stream events.Stream, err error) {
	err = t.holder.QueryRow(key[:], asker).Scan(&stream)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return stream, err
}

// sweep removes some receipts that have expired: more than were left, so that
// they do not pile up, and few enough that no append waits for it. Most transactions
// know that none has: asking the file was 5 % of an append's processor time.
func (t *transaction) sweep() error {
	if t.now < t.due {
		return nil
	}
	if _, err := t.forget.Exec(t.now, sweepLimit+2*t.left); err != nil {
		return err
	}
	return t.earliest.QueryRow(math.MaxInt64).Scan(&t.due)
}

// store inserts the record that follows the tip.
func (t *transaction) store(r eventstore.Record) error {
	r.Position = t.tip.position + 1
	hash := eventstore.ChainHash(t.tip.hash, r)
	_, err := t.insert.Exec(r.Position, r.Stream, r.Version, r.ID[:], r.Type, r.Time.UnixMilli(),
		present(r.Metadata), present(r.Data), hash[:])
	if err != nil {
		return err
	}
	t.tip = tip{position: r.Position, hash: hash}
	t.ends[r.Stream] = eventstore.StreamHead{Version: r.Version, Position: r.Position}
	return nil
}

// present makes nil an empty value; the driver would store NULL for it.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// readTip reads where the chain ends.
func readTip(db *sql.DB) (t tip, err error) {
	var hash []byte
	err = db.QueryRow(`SELECT position, hash FROM events ORDER BY position DESC LIMIT 1`).Scan(&t.position, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return tip{}, nil
	}
	copy(t.hash[:], hash)
	return t, err
}
