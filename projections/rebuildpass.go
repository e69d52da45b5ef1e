package projections

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"konto/events"
	"konto/eventstore"
)

const (
	// rebuildRows is how many rows a pass holds in memory, of 0.5 KB each; an account
	// counts as three. So many accounts are fewer than the ciphers that the keyring caches
	// (16,384), or each event of accounts that take turns would have to look one up.
	rebuildRows = 40960
	// pagesAhead is how many pages are decrypted while another one is folded.
	pagesAhead = 4
)

// foldAll folds the log up to a position into the next file, which is empty. It needs
// one pass over the log for each rebuildRows of its rows. A pass folds streams from their first
// event to their last one, so that each row is written once and none is read. The
// next pass begins before the first stream for which there was no room.
func (b *rebuild) foldAll(ctx context.Context, to uint64) error {
	var inLog uint64
	for after := uint64(0); after < to; {
		p := &pass{rebuild: b, room: b.cfg.heldRows, streams: make(map[events.Stream]bool)}
		next, err := p.run(ctx, after, to)
		if err != nil {
			return err
		}
		if after == 0 {
			inLog = p.read
		}
		after = next
	}
	if b.done != inLog {
		return fmt.Errorf("%w: %d events are of streams whose first event is missing", ErrOutOfStep, inLog-b.done)
	}
	return nil
}

// pass folds some of the streams.
type pass struct {
	*rebuild
	streams map[events.Stream]bool
	room    int    // for how many more rows there is memory
	read    uint64 // how many events
}

// page is a part of the log, decrypted.
type page struct {
	events []events.Event    // those that the pass needs
	own    uint64            // how many of them are of its streams
	last   eventstore.Record // of all that were read
	err    error
}

// run folds what follows a position, and returns the one after which the next pass
// begins. One goroutine reads, one folds, and each page is decrypted by one of its own.
func (p *pass) run(ctx context.Context, after, to uint64) (next uint64, err error) {
	pages := make(chan chan page, pagesAhead) // in the order of the log
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		defer close(pages)
		next, err = p.readAll(ctx, after, to, pages)
		return err
	})
	group.Go(func() error {
		_, err := p.next.update(ctx, func(ctx context.Context, f *fold) error {
			f.whole, f.position = true, after
			for decrypted := range pages {
				one := <-decrypted
				if one.err != nil {
					return one.err
				}
				if err := f.takeInPage(ctx, one.events); err != nil {
					return err
				}
				f.position, f.event = one.last.Position, one.last.ID
				p.advance(one.own)
			}
			return nil
		})
		return err
	})
	return next, group.Wait()
}

// readAll reads the log's pages. Every pass needs the changes of passwords, because
// they close sessions, which are streams of their own.
func (p *pass) readAll(ctx context.Context, after, to uint64, pages chan<- chan page) (next uint64, err error) {
	for next = to; after < to; {
		records, err := p.readPage(ctx, after, to)
		if err != nil {
			return 0, err
		}
		p.read += uint64(len(records))
		one := page{last: records[len(records)-1]}
		after = one.last.Position
		needed := make([]eventstore.Record, 0, len(records))
		for _, r := range records {
			switch {
			case r.Version > 1:
			case p.room > 0:
				p.streams[r.Stream] = true
				if p.room--; r.Stream.Category() == events.CategoryAccount {
					p.room -= 2
				}
			default:
				next = min(next, r.Position-1)
			}
			own := p.streams[r.Stream]
			if own {
				one.own++
			}
			if own || r.Type == events.TypePasswordChanged {
				needed = append(needed, r)
			}
		}
		decrypted := make(chan page, 1)
		go func() {
			one.events, one.err = p.decrypt(ctx, needed)
			decrypted <- one
		}()
		select {
		case pages <- decrypted:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return next, nil
}
