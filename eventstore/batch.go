package eventstore

import (
	"errors"
	"fmt"
	"time"
)

// Check tells what is wrong with a batch in itself, whatever the log holds:
// records of another stream, versions that do not follow Expected, times that
// the log would round. A backend calls it first, so that a record never comes
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
		case r.Time != r.Time.UTC().Truncate(time.Millisecond):
			return fmt.Errorf("record %d of a batch for %s has a time that is not UTC in milliseconds", i, b.Stream)
		}
	}
	return nil
}
