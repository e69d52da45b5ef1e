package sqlite

import (
	"context"
	"sync"

	"konto/eventstore"
)

// head is the position of the last committed record, and the bell for those who
// wait for the next.
type head struct {
	mu       sync.Mutex
	position uint64
	closed   bool
	changed  chan struct{} // nil while nobody waits
}

func (h *head) get() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.position
}

// advance wakes waiters if position is a new one.
func (h *head) advance(position uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if position > h.position {
		h.position = position
		h.ring()
	}
}

// close lets waiters, and those to come, return ErrClosed.
func (h *head) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.ring()
}

func (h *head) ring() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

func (h *head) wait(ctx context.Context, after uint64) error {
	for {
		changed, err := h.next(after)
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

// next returns nil when the head is above after, else what to wait for.
func (h *head) next(after uint64) (<-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, eventstore.ErrClosed
	case h.position > after:
		return nil, nil
	case h.changed == nil:
		h.changed = make(chan struct{})
	}
	return h.changed, nil
}
