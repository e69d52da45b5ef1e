package verify

import (
	"context"
	"errors"
	"time"

	"konto/events"
	"konto/eventstore"
)

// streams reads all streams, folds each one, and compares its state with the claims
// and the read model.
func (c *check) streams(ctx context.Context) error {
	w := &walk{check: c, rows: rows{check: c}}
	var after events.Stream
	for version := uint64(0); ; {
		c.Tell(c.folded, c.report.Position, "events")
		page, err := c.Log.ByStream(ctx, after, version, c.Page)
		if err != nil {
			return c.trouble(ctx, Problem{}, err)
		}
		for _, r := range page {
			after, version = r.Stream, r.Version
			if err := w.take(ctx, r); err != nil {
				return err
			}
		}
		if len(page) == 0 {
			break
		}
	}
	if err := w.end(ctx); err != nil {
		return err
	}
	c.Tell(c.folded, c.folded, "events")
	return w.rows.end(ctx)
}

// walk goes through records in the order of streams.
type walk struct {
	*check
	rows    rows
	stream  events.Stream // the present one
	subject *subject      // its state; nil if its name is not one that konto gives
}

func (w *walk) take(ctx context.Context, r eventstore.Record) error {
	if r.Stream != w.stream {
		if err := w.end(ctx); err != nil {
			return err
		}
		if err := w.begin(ctx, r); err != nil {
			return err
		}
	}
	w.folded++
	if w.subject == nil || w.subject.broken {
		return nil
	}
	if err := w.subject.add(ctx, w.Store, w.closed, r); err != nil {
		w.subject.broken = true // the events after it cannot be folded without it
		return w.broken(ctx, r, err)
	}
	return nil
}

// broken reports an event that cannot be folded.
func (c *check) broken(ctx context.Context, r eventstore.Record, err error) error {
	var w *wrong
	if errors.As(err, &w) && w.err == nil {
		c.found(Problem{Position: w.position, Stream: r.Stream, What: w.what})
		return nil
	}
	return c.trouble(ctx, Problem{Position: r.Position, Stream: r.Stream}, err)
}

func (w *walk) begin(ctx context.Context, r eventstore.Record) (err error) {
	w.stream = r.Stream
	if w.subject, err = newSubject(r.Stream, 0); err != nil {
		w.found(Problem{Position: r.Position, Stream: r.Stream, What: err.Error()})
		return nil
	}
	if w.subject.category == events.CategoryAccount {
		w.report.Accounts++
	}
	w.subject.upTo, err = w.rows.upTo(ctx, w.subject)
	return err
}

// end compares the stream after its last event.
func (w *walk) end(ctx context.Context) error {
	s := w.subject
	w.subject = nil
	if s == nil {
		return nil
	}
	s.pass()
	if !s.broken && s.unended() {
		w.found(Problem{Position: s.shredded, Stream: s.stream, What: "its key was destroyed, but no event ends its stream"})
	}
	if !s.broken && s.readable(time.Now().Add(-w.Erasing)) {
		w.found(Problem{Position: s.position, Stream: s.stream, What: "the account was erased, and its key is still there"})
	}
	if err := w.rows.compare(ctx, s); err != nil || s.broken {
		return err
	}
	return w.compareClaims(ctx, s)
}
