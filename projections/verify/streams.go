package verify

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// streams reads all streams, folds each one, and compares its state with the claims
// and the read model.
func (c *check) streams(ctx context.Context) error {
	w := &walk{check: c, rows: rows{check: c}}
	var after events.Stream
	for version := uint64(0); ; {
		c.Progress(c.folded, c.report.Position, "events")
		page, err := c.Log.ByStream(ctx, after, version, c.Page)
		if err != nil {
			return c.trouble(ctx, Problem{}, err)
		}
		for _, r := range page {
			after, version = r.Stream, r.Version
			if err := w.visit(ctx, r); err != nil {
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
	return w.rows.end(ctx)
}

// walk goes through records in the order of streams.
type walk struct {
	*check
	rows    rows
	stream  events.Stream // the present one
	subject *subject      // its state; nil if its name is not one that konto gives
}

func (w *walk) visit(ctx context.Context, r eventstore.Record) error {
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

// rows reads the rows of the read model in the order in which streams are read.
type rows struct {
	*check
	category string
	position uint64                  // the position that the page is at
	page     []projections.StoredRow // the rest of the page
	last     ulid.ULID               // the last id that the page covers
	all      bool                    // the page is the category's last
	// unreadable is true if the category's rows could not be read.
	unreadable bool
}

// categories are in the order of the names of their streams.
var categories = []string{events.CategoryAccount, events.CategoryCredential, events.CategoryThirdParty}

// upTo reads pages until the one that has a stream's row, or would have it, and returns the position
// of the page's rows.
func (r *rows) upTo(ctx context.Context, s *subject) (uint64, error) {
	if r.Model == nil {
		return math.MaxUint64, nil
	}
	if err := r.enter(ctx, s.category); err != nil {
		return 0, err
	}
	for !r.all && r.last.Compare(s.id) < 0 {
		if err := r.nextPage(ctx); err != nil {
			return 0, err
		}
	}
	return r.position, nil
}

// enter begins a category. Rows that are left in the categories before it have no stream.
func (r *rows) enter(ctx context.Context, category string) error {
	for r.category != category {
		if r.category != "" {
			if err := r.finish(ctx); err != nil {
				return err
			}
		}
		r.category = categories[slices.Index(categories, r.category)+1]
		r.last, r.all, r.unreadable = ulid.ULID{}, false, false
	}
	return nil
}

// finish reads the rest of a category.
func (r *rows) finish(ctx context.Context) error {
	for !r.all {
		if err := r.nextPage(ctx); err != nil {
			return err
		}
	}
	return r.drop(ctx)
}

// nextPage reads the next page of the category.
func (r *rows) nextPage(ctx context.Context) (err error) {
	if err := r.drop(ctx); err != nil {
		return err
	}
	r.position, r.page, err = r.Model.StoredRows(ctx, r.category, r.last, r.Page)
	if err != nil {
		r.page, r.all, r.unreadable = nil, true, true
		return r.trouble(ctx, Problem{}, err)
	}
	if r.all = len(r.page) < r.Page; !r.all {
		r.last = r.page[len(r.page)-1].ID
	}
	return nil
}

// drop reports the rest of the page: there was no stream for these rows.
func (r *rows) drop(ctx context.Context) error {
	left := r.page
	r.page = nil
	for _, row := range left {
		if err := r.surplus(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

// end reads the rows after the last stream.
func (r *rows) end(ctx context.Context) error {
	if r.Model == nil {
		return nil
	}
	if err := r.enter(ctx, categories[len(categories)-1]); err != nil {
		return err
	}
	return r.finish(ctx)
}

// to returns the row with an id, if there is one. It removes it from the page, and
// reports the rows before it: there was no stream for them.
func (r *rows) to(ctx context.Context, id ulid.ULID) (*projections.StoredRow, error) {
	for len(r.page) > 0 {
		row := r.page[0]
		order := row.ID.Compare(id)
		if order > 0 {
			break
		}
		r.page = r.page[1:]
		if order == 0 {
			return &row, nil
		}
		if err := r.surplus(ctx, row); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// compare compares the row of a stream with the result of the fold.
func (r *rows) compare(ctx context.Context, s *subject) error {
	if r.Model == nil || r.unreadable {
		return nil
	}
	row, err := r.to(ctx, s.id)
	if err != nil || s.broken || sameRow(row, s.row) {
		return err
	}
	return r.rowAgain(ctx, s.stream)
}

// surplus checks again a row that seems to have no stream.
func (r *rows) surplus(ctx context.Context, row projections.StoredRow) error {
	return r.rowAgain(ctx, events.Stream(r.category+"-"+row.ID.String()))
}

// sameRow reports whether a row is as it must be; nil means no row.
func sameRow(found, want *projections.StoredRow) bool {
	if found == nil || want == nil {
		return found == want
	}
	return found.Err == nil && found.Text == want.Text
}
