package deliveries

import (
	"context"
	"database/sql"
	"time"

	"github.com/oklog/ulid/v2"
)

// change is what one caller wants changed. Its error is the file's and spoils
// the transaction that others share.
type change func(*transaction) error

// change stores one change together with those of others who wait for it.
func (l *Ledger) change(c change) error { return l.failed("write to", l.changes.Add(c)) }

// knowledge is what the file need not be asked. None outlives a transaction that
// failed: it may be of what was not stored, or was stored after all.
type knowledge struct {
	reached uint64 // the position that the file is bound at; 0: to be asked
	oldest  int64  // no attempt began before it, milliseconds since 1970; 0: to be asked
	// unbounded counts, for each third party of which this process wrote
	// anything, the attempts since its delivery log was last cut to its bound.
	unbounded map[ulid.ULID]int
}

func newKnowledge() knowledge { return knowledge{unbounded: make(map[ulid.ULID]int)} }

// transaction is one that is under way.
type transaction struct {
	statements
	ledger *Ledger
	added  int // attempts so far
	now    time.Time

	// The highest position that a change named, and its event if that is known.
	highest uint64
	event   ulid.ULID
}

// commit makes the changes of a group in one transaction. It takes no context: a
// caller's must not end what others share.
func (l *Ledger) commit(group []change) error {
	err := l.attempt(group)
	if err != nil {
		l.knows = newKnowledge()
	}
	return err
}

func (l *Ledger) attempt(group []change) error {
	tx, err := l.writer.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	t := &transaction{statements: l.statements.in(tx), ledger: l, now: l.cfg.Now()}
	for _, c := range group {
		if err := c(t); err != nil {
			return err
		}
	}
	if err := t.sweep(); err != nil {
		return err
	}
	if err := t.bind(); err != nil {
		return err
	}
	return tx.Commit()
}

// in binds the statements to a transaction, for whose length they are valid.
func (s statements) in(tx *sql.Tx) statements {
	for _, statement := range []**sql.Stmt{
		&s.known, &s.reached, &s.reach, &s.position, &s.setPosition, &s.setLane, &s.beginAnew, &s.took, &s.insert, &s.bound, &s.expire,
		&s.oldest, &s.rewind, &s.dropLanes, &s.dropAttempts, &s.drop, &s.forgetLanes, &s.forgetAttempts,
		&s.keepNotice, &s.dropNotice, &s.keepNames, &s.dropNames,
	} {
		*statement = tx.Stmt(*statement)
	}
	return s
}

// mention notes a position that is about to be stored, and the event there if
// the caller knows it.
func (t *transaction) mention(position uint64, event ulid.ULID) {
	switch {
	case position > t.highest:
		t.highest, t.event = position, event
	case position == t.highest && t.event == ulid.Zero:
		t.event = event
	}
}

// bind ties the file to the log's history by the event at the highest position
// that any row names: in another history there is another one, or none.
func (t *transaction) bind() error {
	knows := &t.ledger.knows
	if knows.reached == 0 {
		if err := t.reached.QueryRow().Scan(&knows.reached); err != nil {
			return err
		}
	}
	if t.highest <= knows.reached {
		return nil
	}
	if t.event == ulid.Zero {
		found, err := t.ledger.cfg.Log.ReadAll(context.Background(), t.highest-1, 1)
		if err != nil {
			return err
		}
		if len(found) == 0 || found[0].Position != t.highest {
			return nil // nothing to be bound by: the file stays bound to what it knows
		}
		t.event = found[0].ID
	}
	_, err := t.reach.Exec(t.highest, t.event[:])
	knows.reached = t.highest
	return err
}

// know gives the third party a row, so that all of its rows can be found.
func (t *transaction) know(party ulid.ULID) error {
	if _, known := t.ledger.knows.unbounded[party]; known {
		return nil
	}
	if _, err := t.known.Exec(party[:]); err != nil {
		return err
	}
	// Nobody knows how many attempts the file has: its bound is due with the next.
	t.ledger.knows.unbounded[party] = t.ledger.slack()
	return nil
}
