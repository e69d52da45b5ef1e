package main

import (
	"context"
	"sync"

	"konto/eventstore"
)

// bulk is a log that keeps what is appended in memory until flush stores it.
// Nothing that waits is read by anyone: who fills a log reads behind a flush.
type bulk struct {
	eventstore.AdminLog

	mu      sync.Mutex // guards what follows
	waiting []eventstore.Batch
	last    uint64 // position of the last record that waits
}

// Append implements eventstore.Appender, except that nothing is durable, and no
// conflict told, before flush.
func (b *bulk) Append(_ context.Context, batch eventstore.Batch) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, batch)
	b.last += uint64(len(batch.Records))
	return b.last, nil
}

func (b *bulk) flush(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting := b.waiting
	b.waiting = nil
	_, err := b.AppendAll(ctx, waiting)
	return err
}

var _ eventstore.Log = (*bulk)(nil)
