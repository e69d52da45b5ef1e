package verify

import (
	"context"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// streams reads all streams, folds each one, and compares its state with the claims
// and the read model.
func (c *check) streams(ctx context.Context) error {
	w := &walk{check: c, unreadable: map[string]bool{}}
	next, stop := iter.Pull2(w.rows(ctx))
	defer stop()
	w.next = next
	if err := w.nextRow(); err != nil {
		return err
	}
	var after events.Stream
	for version := uint64(0); ; {
		c.Progress(c.folded, c.report.Position, "events")
		page, err := c.Log.ByStream(ctx, after, version, c.Page)
		if err != nil {
			return c.trouble(ctx, Problem{}, err)
		}
		if err := c.Store.Prefetch(ctx, page); err != nil {
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
	c.Progress(c.folded, c.folded, "events")
	return w.rowsBefore(ctx, "~") // behind all streams
}

// walk goes through records in the order of streams, and through the rows of the read
// model, which have the same order.
type walk struct {
	*check
	stream  events.Stream // the present one
	subject *subject      // its state; nil if its name is not one that konto gives

	next       func() (modelRow, error, bool)
	row        modelRow        // the next one; its stream is "" after the last
	unreadable map[string]bool // the categories whose rows could not be read
}

// modelRow is a row of the read model and the stream that it is of.
type modelRow struct {
	stream events.Stream
	projections.StoredRow
}

// rows are the rows of the read model in the order of streams. An error ends them.
func (w *walk) rows(ctx context.Context) iter.Seq2[modelRow, error] {
	return func(yield func(modelRow, error) bool) {
		if w.Model == nil {
			return
		}
		// In the order of the names of their streams.
		for _, category := range []string{events.CategoryAccount, events.CategoryCredential, events.CategoryThirdParty} {
			var after ulid.ULID
			for full := true; full; {
				_, page, err := w.Model.StoredRows(ctx, category, after, w.Page)
				if err != nil {
					w.unreadable[category] = true
					if err := w.trouble(ctx, Problem{}, err); err != nil {
						yield(modelRow{}, err)
						return
					}
				}
				for _, row := range page {
					after = row.ID
					if !yield(modelRow{events.Stream(category + "-" + row.ID.String()), row}, nil) {
						return
					}
				}
				full = len(page) == w.Page
			}
		}
	}
}

func (w *walk) nextRow() (err error) {
	w.row, err, _ = w.next()
	return err
}

// rowsBefore checks again the rows in front of a stream: there was no stream for them.
func (w *walk) rowsBefore(ctx context.Context, stream events.Stream) error {
	for w.row.stream != "" && w.row.stream < stream {
		if err := w.rowAgain(ctx, w.row.stream); err != nil {
			return err
		}
		if err := w.nextRow(); err != nil {
			return err
		}
	}
	return nil
}

// compareRow compares the row of a stream with what the fold gave. The row may have
// fewer events than the fold, or more: what differs is checked again as of the position
// of the read model.
func (w *walk) compareRow(ctx context.Context, s *subject) error {
	if err := w.rowsBefore(ctx, s.stream); err != nil {
		return err
	}
	var row *projections.StoredRow
	if w.row.stream == s.stream {
		found := w.row.StoredRow
		row = &found
		if err := w.nextRow(); err != nil {
			return err
		}
	}
	if w.Model == nil || w.unreadable[s.category] || s.broken || sameRow(row, s.row()) {
		return nil
	}
	return w.rowAgain(ctx, s.stream)
}

// sameRow reports whether a row is as it must be; nil means no row.
func sameRow(found, want *projections.StoredRow) bool {
	if found == nil || want == nil {
		return found == want
	}
	return found.Err == nil && found.Text == want.Text
}

func (w *walk) take(ctx context.Context, r eventstore.Record) error {
	if r.Stream != w.stream {
		if err := w.end(ctx); err != nil {
			return err
		}
		w.begin(r)
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

func (w *walk) begin(r eventstore.Record) {
	w.stream = r.Stream
	var err error
	if w.subject, err = newSubject(r.Stream); err != nil {
		w.found(Problem{Position: r.Position, Stream: r.Stream, What: err.Error()})
	} else if w.subject.category == events.CategoryAccount {
		w.report.Accounts++
	}
}

// end compares the stream after its last event.
func (w *walk) end(ctx context.Context) error {
	s := w.subject
	w.subject = nil
	if s == nil {
		return nil
	}
	s.closeUpTo(math.MaxUint64)
	if !s.broken && s.shredded > 0 && events.Sealed(s.last) {
		w.found(Problem{Position: s.shredded, Stream: s.stream, What: "its key was destroyed, but no event ends its stream"})
	}
	// Such an account can be read again after an older keyring was put back.
	if erased := s.last == events.TypeAccountErased && s.version > 1; !s.broken && erased && s.shredded == 0 &&
		time.Since(s.account.Updated) > w.Erasing {
		w.found(Problem{Position: s.position, Stream: s.stream, What: "the account was erased, and its key is still there"})
	}
	if err := w.compareRow(ctx, s); err != nil || s.broken {
		return err
	}
	return w.compareClaims(ctx, s)
}
