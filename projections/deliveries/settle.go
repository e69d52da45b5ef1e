package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/eventstore/sqlitefile"
)

// Lane is an account that one third party has trouble with, or was told of last.
// Its events after Version wait, in order, until the next one is delivered.
// Times are kept in milliseconds.
type Lane struct {
	Account  ulid.ULID
	Version  uint64    // of the account: all up to here was settled
	Position uint64    // of the event with that version
	Settled  time.Time // when
	// Attempts counts how often the next event was tried; 0: nothing waits for a retry.
	Attempts int
	Since    time.Time // first try of the next event
	Next     time.Time // when it is tried again
	// Behind tells that the third party's reading has passed later events of the
	// account, which are to be sent after the next one. A lane waits (Waiting)
	// while it is behind or Attempts is above 0. Whoever reads the log sets it.
	Behind bool

	// Delivered is the position of the newest event of the account that the third
	// party took, or that there was nothing to tell of, and DeliveredAt when. The
	// ledger knows both from attempts that it was told of; Settle takes no notice
	// of them.
	Delivered   uint64
	DeliveredAt time.Time
}

// Settlement is what one attempt changed, stored in one transaction. Without a
// Lane.Account no lane is changed, as when an event is redelivered; without an
// Attempt.Event nothing is added to the delivery log, as when a lane falls behind.
type Settlement struct {
	Party   ulid.ULID
	Lane    Lane
	Attempt Attempt // whose Party may be left out
}

// Settle stores what an attempt changed: the lane as it is from now on, and a
// row of the delivery log. It does not end with ctx, since what was delivered
// must not be forgotten because somebody left.
func (l *Ledger) Settle(ctx context.Context, s Settlement) error {
	s.Attempt.Party = s.Party
	excerpt, err := l.seal(context.WithoutCancel(ctx), s.Attempt)
	if err != nil {
		return l.failed("write to", err)
	}
	return l.change(func(t *transaction) error {
		if err := t.know(s.Party); err != nil {
			return err
		}
		if s.Lane.Account != ulid.Zero {
			if err := t.store(s.Party, s.Lane); err != nil {
				return err
			}
		}
		if s.Attempt.Event != ulid.Zero {
			return t.log(s.Attempt, excerpt)
		}
		return nil
	})
}

func (t *transaction) store(party ulid.ULID, lane Lane) error {
	t.mention(lane.Position, ulid.Zero)
	_, err := t.setLane.Exec(party[:], lane.Account[:], lane.Version, lane.Position, sqlitefile.Milliseconds(lane.Settled),
		lane.Attempts, sqlitefile.Milliseconds(lane.Since), sqlitefile.Milliseconds(lane.Next), lane.Behind)
	return err
}

// log adds an attempt to the delivery log. What was delivered is kept with the
// account's lane too, where it stays when the delivery log is cut.
func (t *transaction) log(a Attempt, excerpt []byte) error {
	t.mention(a.Position, a.Event)
	_, err := t.insert.Exec(a.Party[:], a.Account[:], a.Event[:], a.Type, a.Position, a.Number,
		sqlitefile.Milliseconds(a.At), a.Outcome, a.Status, a.Latency.Microseconds(), excerpt)
	if err == nil && (a.Outcome == OutcomeDelivered || a.Outcome == OutcomeSkipped) {
		_, err = t.took.Exec(a.Party[:], a.Account[:], a.Position, sqlitefile.Milliseconds(a.At.Add(a.Latency)))
	}
	if err != nil {
		return err
	}
	t.ledger.knows.oldest = min(t.ledger.knows.oldest, sqlitefile.Milliseconds(a.At))
	return t.count(a.Party)
}

const (
	laneColumns = `account, version, position, settled, attempts, since, next, behind, delivered, delivered_at`
	laneQuery   = `SELECT ` + laneColumns + ` FROM lane WHERE party = ? AND account = ?`
	// Left to itself, SQLite walks over all of the third party's lanes.
	waitingQuery = `SELECT ` + laneColumns + ` FROM lane INDEXED BY lane_waiting
		WHERE party = ? AND (attempts > 0 OR behind = 1) ORDER BY next, account`
)

// Waiting returns the lanes that wait for a retry or are behind the position,
// those that are tried first at the beginning.
func (l *Ledger) Waiting(ctx context.Context, party ulid.ULID) ([]Lane, error) {
	rows, err := l.selectWaiting.QueryContext(ctx, party[:])
	if err != nil {
		return nil, l.failed("read", err)
	}
	defer rows.Close()
	var lanes []Lane
	for rows.Next() {
		lane, err := scanLane(rows)
		if err != nil {
			return nil, l.failed("read", err)
		}
		lanes = append(lanes, lane)
	}
	return lanes, l.failed("read", rows.Err())
}

// BeginAnew makes the next events of all lanes that wait due now, as if they had
// never been tried.
func (l *Ledger) BeginAnew(_ context.Context, party ulid.ULID) error {
	return l.change(func(t *transaction) error {
		_, err := t.beginAnew.Exec(party[:])
		return err
	})
}

// LaneOf returns what the third party was told last of an account; ok is false
// when it was told nothing.
func (l *Ledger) LaneOf(ctx context.Context, party, account ulid.ULID) (lane Lane, ok bool, err error) {
	lane, err = scanLane(l.selectLane.QueryRowContext(ctx, party[:], account[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return Lane{}, false, nil
	}
	return lane, err == nil, l.failed("read", err)
}

// scanLane reads a row of laneColumns.
func scanLane(row interface{ Scan(...any) error }) (lane Lane, err error) {
	var settled, since, next, deliveredAt int64
	err = row.Scan(&lane.Account, &lane.Version, &lane.Position, &settled, &lane.Attempts, &since, &next, &lane.Behind,
		&lane.Delivered, &deliveredAt)
	lane.Settled, lane.DeliveredAt = sqlitefile.Time(settled), sqlitefile.Time(deliveredAt)
	lane.Since, lane.Next = sqlitefile.Time(since), sqlitefile.Time(next)
	return lane, err
}
