package eventstore

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Check tells what is wrong with a batch in itself, whatever the log holds:
// records of another stream, versions that do not follow Expected, times that
// the log would round, one receipt twice, or receipts both left and dropped. A backend calls it first, so that a record never comes
// back other than it went in. The error is a caller's bug, not a state of the log.
func (b Batch) Check() error {
	if b.Stream == "" {
		return errors.New("batch names no stream")
	}
	for i, r := range b.Records {
		switch version := b.Expected + uint64(i) + 1; {
		case r.Stream != b.Stream:
			return fmt.Errorf("record %d of a batch for %s is of %q", i, b.Stream, r.Stream)
		case r.Version != version:
			return fmt.Errorf("record %d of a batch for %s has version %d, not %d", i, b.Stream, r.Version, version)
		case !whole(r.Time):
			return fmt.Errorf("record %d of a batch for %s has a time that is not UTC in milliseconds", i, b.Stream)
		}
	}
	return b.checkReceipts()
}

func (b Batch) checkReceipts() error {
	if b.DropReceipts && len(b.Receipts) > 0 {
		return fmt.Errorf("a batch for %s leaves receipts and drops them", b.Stream)
	}
	for i, r := range b.Receipts {
		if !whole(r.Expires) {
			return fmt.Errorf("receipt %d of a batch for %s expires at a time that is not UTC in milliseconds", i, b.Stream)
		}
		if slices.ContainsFunc(b.Receipts[:i], func(other Receipt) bool { return other.Key == r.Key }) {
			return fmt.Errorf("receipt %d of a batch for %s is there twice", i, b.Stream)
		}
	}
	return nil
}

// whole tells whether a time is as the log keeps it.
func whole(t time.Time) bool { return t == t.UTC().Truncate(time.Millisecond) }
