package projections

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/oklog/ulid/v2"
)

// cache holds the values that were used last, up to a number of them.
//
// A value may stop being right between the moment in which a reader reads it and the
// moment in which the reader adds it here: a commit changes it, or its key is
// destroyed. A revoked credential would then be accepted for as long as it stays
// in the cache. So each such change starts a new generation, and add accepts a
// value only in the generation in which get was called.
type cache[V any] struct {
	mu         sync.Mutex
	values     *simplelru.LRU[ulid.ULID, V]
	generation uint64
}

func newCache[V any](size int) *cache[V] {
	values, err := simplelru.NewLRU[ulid.ULID, V](size, nil)
	if err != nil {
		panic(err) // the size is not positive
	}
	return &cache[V]{values: values}
}

// get returns a value, and the generation to pass to add.
func (c *cache[V]) get(id ulid.ULID) (value V, ok bool, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, ok = c.values.Get(id)
	return value, ok, c.generation
}

// add stores a value that was read after get returned the generation. It does
// nothing if the generation has ended.
func (c *cache[V]) add(id ulid.ULID, value V, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == generation {
		c.values.Add(id, value)
	}
}

// commit stores values that were just committed.
func (c *cache[V]) commit(values map[ulid.ULID]V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	for id, value := range values {
		c.values.Add(id, value)
	}
}

// evict removes the values with these ids.
func (c *cache[V]) evict(ids ...ulid.ULID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	for _, id := range ids {
		c.values.Remove(id)
	}
}

// clear removes all values.
func (c *cache[V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.values.Purge()
}
