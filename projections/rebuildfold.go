package projections

import (
	"context"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"konto/events"
	"konto/eventstore"
)

// pagesAhead is how many pages are decrypted while another one is folded.
const pagesAhead = 4

// foldAll folds the log up to a position into the next file, which is empty. It reads one
// stream after the other. So each key is looked up once, each row is written once, in the order of
// the table, and only the rows of one page are in memory.
//
// One goroutine reads, one folds, and each page is decrypted by a goroutine of its own.
func (b *rebuild) foldAll(ctx context.Context, to uint64) error {
	pages := make(chan chan page, pagesAhead) // in the order of streams
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return b.readStreams(ctx, to, pages) })
	group.Go(func() error {
		_, err := b.next.update(ctx, func(uncancelled context.Context, f *fold) error {
			f.closings = make(map[ulid.ULID][]closing)
			for {
				select {
				case decrypted, more := <-pages:
					if !more {
						return b.end(f, to)
					}
					if err := b.foldPage(uncancelled, f, <-decrypted, to); err != nil {
						return err
					}
				case <-ctx.Done(): // whoever ended it says why
					return ctx.Err()
				}
			}
		})
		return err
	})
	return group.Wait()
}

// page is a part of the log, decrypted.
type page struct {
	events []events.Event
	err    error
}

// readStreams reads what the log holds up to a position. It closes pages only when all of it was
// read: the file is not complete otherwise.
func (b *rebuild) readStreams(ctx context.Context, to uint64, pages chan<- chan page) error {
	var stream events.Stream
	for version := uint64(0); ; {
		records, err := b.live.log.ByStream(ctx, stream, version, rebuildPage)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			close(pages)
			return nil
		}
		last := records[len(records)-1]
		stream, version = last.Stream, last.Version
		records = slices.DeleteFunc(records, func(r eventstore.Record) bool { return r.Position > to })
		decrypted := make(chan page, 1)
		go func() {
			opened, err := b.decrypt(ctx, records)
			decrypted <- page{opened, err}
		}()
		select {
		case pages <- decrypted:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// foldPage folds a page and writes its rows. Only the stream that may go on in the next page is
// still needed.
func (b *rebuild) foldPage(ctx context.Context, f *fold, p page, to uint64) error {
	if p.err != nil || len(p.events) == 0 {
		return p.err
	}
	for _, e := range p.events {
		if err := f.add(ctx, e); err != nil {
			return &eventstore.EventError{Type: e.Type, Position: e.Position, Err: err}
		}
		if e.Position == to {
			f.event = e.ID
		}
	}
	if err := f.writeRows(ctx); err != nil {
		return err
	}
	f.keepOnly(p.events[len(p.events)-1].Stream)
	b.advance(uint64(len(p.events)))
	return nil
}

// end sets the position of the file. The log has as many events as its last position says.
func (b *rebuild) end(f *fold, to uint64) error {
	if b.done != to {
		return fmt.Errorf("%w: the log has %d events up to position %d", ErrOutOfStep, b.done, to)
	}
	f.position = to
	return nil
}
