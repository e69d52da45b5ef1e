package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// checkPage is how many rows CheckChain reads at a time; see queries.
const checkPage = 1000

// ChainError says where the log is not what was appended.
type ChainError struct {
	Position uint64 // the first that is wrong
	Reason   string
	Err      error // nil, or what the file answered
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("the log is damaged at position %d: %s", e.Position, e.Reason)
}

func (e *ChainError) Unwrap() error { return e.Err }

// DamagedAt is Position, for those who do not know of this package.
func (e *ChainError) DamagedAt() uint64 { return e.Position }

// CheckChain reads the whole log as it was when the call began, while it stays
// in use: that positions have no gap, that each record's hash fits it and all
// before it, and that each stream's versions have no gap and rise with their
// positions. It returns a *ChainError for what does not hold and
// sqlitefile.ErrMalformed for a file that SQLite cannot read.
//
// It finds damage, and changes by those who did not know of the chain. Who can
// write to the file can also compute the chain anew.
func (l *Log) CheckChain(ctx context.Context) error {
	return l.CheckChainTelling(ctx, func(done, total uint64) {})
}

// CheckChainTelling is CheckChain that tells now and then how many records of
// all it has read.
func (l *Log) CheckChainTelling(ctx context.Context, tell func(done, total uint64)) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	if err := l.checkRecords(ctx, tip{}, head, tell); err != nil {
		return err
	}
	return l.checkStreams(ctx)
}

// CheckEnd is CheckChain for the last n records alone, without the versions. It
// takes the record before them for right.
func (l *Log) CheckEnd(ctx context.Context, n uint64) error {
	head, err := l.Head(ctx)
	if err != nil {
		return err
	}
	begin := tip{position: head - min(head, n)}
	if begin.position > 0 {
		extent, err := l.Extent(ctx, begin.position)
		if err != nil {
			return &ChainError{begin.position, err.Error(), err}
		}
		begin.hash = extent.Chain
	}
	return l.checkRecords(ctx, begin, head, func(uint64, uint64) {})
}

// checkRecords walks positions and hashes from behind a record up to head.
func (l *Log) checkRecords(ctx context.Context, end tip, head uint64, tell func(done, total uint64)) error {
	for end.position < head {
		tell(end.position, head)
		begin := end
		args := []any{number(begin.position), number(head), checkPage}
		err := l.rows(ctx, l.queries.chain, args, func(rows *sql.Rows) error {
			next, err := checkRecord(rows, end)
			if err == nil {
				end = next
			}
			return err
		})
		if errors.Is(err, sqlitefile.ErrMalformed) {
			return &ChainError{end.position + 1, err.Error(), err}
		}
		if err != nil {
			return err
		}
		if end == begin {
			return &ChainError{begin.position + 1, "the record is missing", nil}
		}
	}
	tell(head, head)
	return nil
}

// checkRecord compares a row with the tip that it must follow.
func checkRecord(rows *sql.Rows, end tip) (tip, error) {
	var stored []byte
	r, err := scan(rows, &stored)
	if err != nil {
		return tip{}, &ChainError{end.position + 1, err.Error(), nil}
	}
	if r.Position != end.position+1 {
		return tip{}, &ChainError{end.position + 1, "the record is missing", nil}
	}
	hash := eventstore.ChainHash(end.hash, r)
	if !bytes.Equal(stored, hash[:]) {
		return tip{}, &ChainError{r.Position, "the hash does not fit the record and those before it", nil}
	}
	return tip{position: r.Position, hash: hash}, nil
}

// checkStreams walks the versions of one stream after the other, in the index
// that finds streams. Records appended meanwhile are seen too, and must fit as well.
func (l *Log) checkStreams(ctx context.Context) error {
	var broken error
	var stream events.Stream
	for last := (eventstore.StreamHead{}); ; {
		seen := 0
		args := []any{stream, number(last.Version), checkPage}
		err := l.rows(ctx, l.queries.versions, args, func(rows *sql.Rows) error {
			seen++
			var of events.Stream
			var next eventstore.StreamHead
			if err := rows.Scan(&of, &next.Version, &next.Position); err != nil {
				return err
			}
			if of != stream {
				stream, last = of, eventstore.StreamHead{}
			}
			if next.Version != last.Version+1 || next.Position <= last.Position {
				broken = earlier(broken, &ChainError{next.Position, fmt.Sprintf(
					"version %d of %s follows its version %d at position %d", next.Version, stream, last.Version, last.Position), nil})
			}
			last = next
			return nil
		})
		if err != nil || seen == 0 {
			return errors.Join(err, broken)
		}
	}
}

// earlier keeps the error with the lower position; streams are not walked in
// the order of the log.
func earlier(known error, found *ChainError) error {
	var first *ChainError
	if errors.As(known, &first) && first.Position <= found.Position {
		return known
	}
	return found
}
