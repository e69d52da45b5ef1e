package deliveries

import (
	"context"
	"slices"
	"sort"
	"sync"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// tailSize is how many of the accounts' last events are kept in memory, at some 1 kB
// each. A third party that is further behind reads the log.
const tailSize = 4096

// feed is the projection of the follower "deliveries". It keeps the accounts' last events
// in memory, for all third parties together. It stores no position: it begins at the end of
// the log. Third parties that are behind it read the log themselves, so that one of them
// never holds up the others.
type feed struct {
	store *eventstore.Store

	mu      sync.Mutex
	changed chan struct{}   // closed and replaced when any of what follows changes
	tail    []*events.Event // all events of accounts with positions above from, up to head
	from    uint64
	head    uint64
	parties uint64 // position of the last event of a third party, as of which they have to be loaded
}

var _ projections.Projection = (*feed)(nil)

func newFeed(store *eventstore.Store) *feed {
	return &feed{store: store, changed: make(chan struct{})}
}

// Position implements projections.Projection.
func (f *feed) Position(ctx context.Context) (uint64, error) {
	head, err := f.store.Head(ctx)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// Up to head nobody looked for events of third parties, so they have to be loaded.
	f.tail, f.from, f.head, f.parties = nil, head, head, head
	f.wake()
	return head, nil
}

// Apply implements projections.Projection.
func (f *feed) Apply(_ context.Context, batch []events.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range batch { // each is copied, so that a pointer to one does not keep the whole batch
		if e.Position <= f.head {
			continue
		}
		f.head = e.Position
		switch e.Stream.Category() {
		case events.CategoryAccount:
			f.tail = append(f.tail, &e)
		case events.CategoryThirdParty:
			f.parties = e.Position
		}
	}
	if cut := len(f.tail) - tailSize; cut > tailSize {
		// A copy, because readers still use parts of the old one.
		f.from = f.tail[cut-1].Position
		f.tail = slices.Clone(f.tail[cut:])
	}
	f.wake()
	return nil
}

// wake wakes those who wait for a change. The caller holds mu.
func (f *feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// after returns the events of accounts after a position, and up to which position these
// are all. ok is false when the feed no longer has all of them.
func (f *feed) after(position uint64) (evs []*events.Event, upTo uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if position < f.from {
		return nil, 0, false
	}
	i := sort.Search(len(f.tail), func(i int) bool { return f.tail[i].Position > position })
	return f.tail[i:len(f.tail):len(f.tail)], max(f.head, position), true
}

// watch returns the positions of the feed, and a channel that is closed when one changes.
func (f *feed) watch() (head, parties uint64, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head, f.parties, f.changed
}

// partiesAfter waits for an event of a third party after a position, and returns the
// position of the last such event. Its error is ctx's.
func (f *feed) partiesAfter(ctx context.Context, position uint64) (uint64, error) {
	for {
		_, parties, moved := f.watch()
		if parties > position {
			return parties, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return position, ctx.Err()
		}
	}
}
