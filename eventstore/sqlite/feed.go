package sqlite

import (
	"context"
	"sync"
	"sync/atomic"

	"konto/eventstore"
)

const (
	// feedRecords is how many of the last records are cached: how far a healthy follower
	// may lag and still read nothing from the file.
	feedRecords = 4096
	// feedData is the size of the largest record that is cached, in bytes. It bounds the
	// cache to 16 MB.
	feedData = 4096
)

// feed is the end of the log: its position, the last records, and who waits for the next.
type feed struct {
	// last caches the record at position p in slot p % feedRecords, or an older record. A
	// record in it never changes, so readers and the writer need no lock.
	last [feedRecords]atomic.Pointer[eventstore.Record]

	mu       sync.Mutex
	position uint64
	closed   bool
	changed  chan struct{} // nil while nobody waits
}

// add caches records that are committed. It keeps them; nobody else may change them.
func (f *feed) add(records []eventstore.Record) {
	for i := range records {
		if r := &records[i]; len(r.Metadata)+len(r.Data) <= feedData {
			f.last[r.Position%feedRecords].Store(r)
		}
	}
}

// read returns copies of up to limit cached records that follow a position without a gap.
func (f *feed) read(after uint64, limit int) (records []eventstore.Record) {
	for len(records) < limit {
		r := f.last[(after+1)%feedRecords].Load()
		if r == nil || r.Position != after+1 {
			break
		}
		if records == nil {
			records = make([]eventstore.Record, 0, limit)
		}
		records = append(records, *r)
		after++
	}
	return eventstore.CloneAll(records)
}

// head returns the position of the last committed record.
func (f *feed) head() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position
}

// advance wakes those who wait, if position is a new one. The records must have been added.
func (f *feed) advance(position uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if position > f.position {
		f.position = position
		f.wake()
	}
}

// close ends present and future waits with ErrClosed.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wake()
}

func (f *feed) wake() {
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

func (f *feed) wait(ctx context.Context, after uint64) error {
	for {
		changed, err := f.next(after)
		if changed == nil || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next returns nil if the log goes beyond a position, else a channel that is closed on a change.
func (f *feed) next(after uint64) (<-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, eventstore.ErrClosed
	case f.position > after:
		return nil, nil
	case f.changed == nil:
		f.changed = make(chan struct{})
	}
	return f.changed, nil
}
