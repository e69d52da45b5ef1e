package verify

import (
	"context"
	"math"
	"slices"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections"
)

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

// upTo reads on to the page that has a stream's row, or would have it, and returns
// the position that the page's rows are at.
func (r *rows) upTo(ctx context.Context, s *subject) (uint64, error) {
	if r.Model == nil {
		return math.MaxUint64, nil
	}
	if err := r.enter(ctx, s.category); err != nil {
		return 0, err
	}
	for !r.all && r.last.Compare(s.id) < 0 {
		if err := r.turn(ctx); err != nil {
			return 0, err
		}
	}
	return r.position, nil
}

// enter goes on to a category. The rows left in the categories before it have no stream.
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

// finish goes through the rest of a category.
func (r *rows) finish(ctx context.Context) error {
	for !r.all {
		if err := r.turn(ctx); err != nil {
			return err
		}
	}
	return r.drop(ctx)
}

// turn reads the next page of the category.
func (r *rows) turn(ctx context.Context) (err error) {
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

// end goes through the rows after the last stream.
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

// compare compares the row of a stream with what the fold gave.
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
