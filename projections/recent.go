package projections

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/oklog/ulid/v2"
)

// recent keeps the rows last used in memory, always as they are committed.
//
// The danger is a reader that loads a row, loses the processor while a commit
// changes that row, and then stores what it loaded: a revoked credential would
// be accepted for as long as it stays in memory. Commits therefore advance a
// generation, and a load is stored only in the generation in which it began.
type recent[V any] struct {
	mu         sync.Mutex
	rows       *simplelru.LRU[ulid.ULID, V]
	generation uint64
}

func newRecent[V any](size int) *recent[V] {
	rows, err := simplelru.NewLRU[ulid.ULID, V](size, nil)
	if err != nil {
		panic(err) // the size is not positive
	}
	return &recent[V]{rows: rows}
}

// get returns a row, or the generation to pass to loaded once it was read.
func (r *recent[V]) get(id ulid.ULID) (row V, ok bool, generation uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row, ok = r.rows.Get(id)
	return row, ok, r.generation
}

// loaded stores a row that was read from the file since generation, unless a
// commit came in between.
func (r *recent[V]) loaded(id ulid.ULID, row V, generation uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation == generation {
		r.rows.Add(id, row)
	}
}

// committed stores rows that were just committed.
func (r *recent[V]) committed(rows map[ulid.ULID]V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	for id, row := range rows {
		r.rows.Add(id, row)
	}
}

// forget drops rows of which it is not known whether they were committed.
func (r *recent[V]) forget(rows map[ulid.ULID]V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	for id := range rows {
		r.rows.Remove(id)
	}
}

// drop takes a row out of memory, and keeps one that is being read from getting there.
func (r *recent[V]) drop(id ulid.ULID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	r.rows.Remove(id)
}

// clear drops all rows, and those that are being read.
func (r *recent[V]) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	r.rows.Purge()
}
