package sqlite

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"konto/events"
	"konto/eventstore"
)

// headCount is how many streams' ends are kept in memory, about 200 bytes each.
const headCount = 1 << 16

// heads knows where the streams used last end, so that neither an append nor a
// read of an end asks the file: 7 of an append's 34 microseconds, and 14 of a read's
// 14.2 (BenchmarkStreamHead).
//
// The writer notes each end after its commit. Readers add those that they found in
// the file, which may be behind by then: the floor tells. A stream with a record above
// the floor is known, or has been noted by nobody; so what a reader found when the
// log was at the floor, or later, and is not known now, is still true.
type heads struct {
	mu    sync.Mutex
	known *simplelru.LRU[events.Stream, eventstore.StreamHead]
	floor uint64
}

// newHeads knows of no stream, and learns of none before restart.
func newHeads(count int) *heads {
	h := &heads{floor: math.MaxUint64}
	known, err := simplelru.NewLRU(count, func(_ events.Stream, gone eventstore.StreamHead) {
		h.floor = max(h.floor, gone.Position)
	})
	if err != nil {
		panic(err) // only a count below 1 is refused
	}
	h.known = known
	return h
}

func (h *heads) get(stream events.Stream) (eventstore.StreamHead, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known.Get(stream)
}

// note keeps what a transaction changed, once it is committed.
func (h *heads) note(changed map[events.Stream]eventstore.StreamHead) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for stream, head := range changed {
		h.known.Add(stream, head)
	}
}

// learn keeps what the file told when the log went to the position seen at least.
func (h *heads) learn(stream events.Stream, head eventstore.StreamHead, seen uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seen >= h.floor && !h.known.Contains(stream) {
		h.known.Add(stream, head)
	}
}

// forget drops all and learns nothing until restart, when nobody knows what the
// file holds.
func (h *heads) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known.Purge()
	h.floor = math.MaxUint64
}

// restart learns again, from what was read when the log went to position.
func (h *heads) restart(position uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.floor = position
}
