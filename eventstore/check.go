package eventstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"konto/events"
)

// ChainReader reads a log for CheckChain and CheckEnd. Each method reads one page and calls each
// for its rows, in order. It returns each's error.
type ChainReader interface {
	// Hashed reads records after a position, up to another one, with their stored hashes. A row
	// that is no record is given to each as unreadable. If the store itself is damaged, the error
	// is a *ChainError, whose position is set by the caller.
	Hashed(ctx context.Context, after, to uint64, each func(r Record, hash []byte, unreadable error) error) error

	// Heads reads the streams, versions and positions of records after a version of a stream, in
	// the order of ByStream.
	Heads(ctx context.Context, stream events.Stream, after uint64, each func(events.Stream, StreamHead)) error
}

// ChainEnd is a position and the hash of the record there; see ChainHash. The zero ChainEnd is the
// beginning of a log.
type ChainEnd struct {
	Position uint64
	Hash     [sha256.Size]byte
}

// CheckChain checks positions and hashes up to head, and then all versions, for
// Checker.CheckChain. It returns the end of the chain.
func CheckChain(ctx context.Context, log ChainReader, head uint64, progress func(done, total uint64)) (ChainEnd, error) {
	end, err := CheckEnd(ctx, log, ChainEnd{}, head, progress)
	if err != nil {
		return end, err
	}
	return end, checkVersions(ctx, log)
}

// CheckEnd checks positions and hashes after last, which it trusts, up to head, for
// Checker.CheckEnd. It returns the end of the chain. progress may be nil.
func CheckEnd(ctx context.Context, log ChainReader, last ChainEnd, head uint64, progress func(done, total uint64)) (ChainEnd, error) {
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	for last.Position < head {
		progress(last.Position, head)
		start := last
		err := log.Hashed(ctx, start.Position, head, func(r Record, hash []byte, unreadable error) error {
			next, err := last.next(r, hash, unreadable)
			if err == nil {
				last = next
			}
			return err
		})
		var broken *ChainError
		if errors.As(err, &broken) && broken.Position == 0 {
			broken.Position = last.Position + 1
			return last, broken
		}
		if err != nil {
			return last, err
		}
		if last == start {
			return last, damagedAt(last.Position+1, "the record is missing")
		}
	}
	progress(head, head)
	return last, nil
}

func damagedAt(position uint64, reason string) error {
	return &ChainError{Position: position, Reason: reason}
}

// next checks that a record with a stored hash follows.
func (e ChainEnd) next(r Record, stored []byte, unreadable error) (ChainEnd, error) {
	if unreadable != nil {
		return e, damagedAt(e.Position+1, unreadable.Error())
	}
	if r.Position != e.Position+1 {
		return e, damagedAt(e.Position+1, "the record is missing")
	}
	hash := ChainHash(e.Hash, r)
	if !bytes.Equal(stored, hash[:]) {
		return e, damagedAt(r.Position, "the hash does not fit the record and those before it")
	}
	return ChainEnd{r.Position, hash}, nil
}

// checkVersions checks the versions of one stream after the other, by an index. Records that
// are appended meanwhile may be checked too. Streams are not in the order of positions, so it
// reads all of them to find the first damage.
func checkVersions(ctx context.Context, log ChainReader) error {
	var first *ChainError
	var stream events.Stream
	for last := (StreamHead{}); ; {
		count := 0
		err := log.Heads(ctx, stream, last.Version, func(of events.Stream, next StreamHead) {
			count++
			if of != stream {
				stream, last = of, StreamHead{}
			}
			if (next.Version != last.Version+1 || next.Position <= last.Position) && (first == nil || next.Position < first.Position) {
				first = &ChainError{Position: next.Position, Reason: fmt.Sprintf(
					"version %d of %s follows its version %d at position %d", next.Version, stream, last.Version, last.Position)}
			}
			last = next
		})
		switch {
		case err == nil && count > 0:
		case first == nil:
			return err
		default:
			return errors.Join(err, first)
		}
	}
}
