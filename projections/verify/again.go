package verify

import (
	"context"
	"errors"
	"math"

	"konto/events"
	"konto/eventstore"
)

// tries is how often a stream is checked to find a moment in which nothing was
// appended to it.
const tries = 100

// fold folds a stream's events up to a position. Its error is a *wrong when an event of
// it cannot be folded.
func (c *check) fold(ctx context.Context, stream events.Stream, upTo uint64) (*subject, error) {
	s, err := newSubject(stream)
	if err != nil {
		return nil, &wrong{what: err.Error()}
	}
	closed := newClosings(c.Store, c.Log) // not cached from earlier
	for r, err := range eventstore.Records(ctx, c.Log, stream, 0, math.MaxUint64) {
		if err != nil {
			return nil, err
		}
		if r.Position > upTo {
			break
		}
		if err := s.add(ctx, c.Store, closed, r); err != nil {
			return nil, err
		}
	}
	s.closeUpTo(upTo)
	return s, nil
}

// rowAgain compares a stream with its row in the read model. The row is read
// first: the log has all that the row can know of.
func (c *check) rowAgain(ctx context.Context, stream events.Stream) error {
	category, id, err := stream.Split()
	if err != nil {
		return nil // reported with the stream
	}
	position, row, ok, err := c.Model.StoredRow(ctx, category, id)
	if err != nil {
		return c.trouble(ctx, Problem{Stream: stream}, err)
	}
	s, err := c.fold(ctx, stream, position)
	if err != nil {
		return c.unfolded(ctx, stream, err)
	}
	p, want := Problem{Position: s.position, Stream: stream}, s.row()
	switch {
	case !ok && want == nil, ok && sameRow(&row, want):
		return nil
	case !ok:
		p.What = "the read model has no row for it"
	case row.Err != nil:
		p.What = "its row in the read model cannot be read: " + explain(row.Err)
	case s.version == 0:
		p.What = "the read model has a row for it, but the log no record: the log may have lost its end"
	case want == nil:
		p.What = "the read model has a row for it, which should not be there"
	default:
		p.What = "its row in the read model is not what its events come to"
	}
	c.found(p)
	return nil
}

// unfolded ignores a stream whose events cannot be folded: Run reports it elsewhere.
func (c *check) unfolded(ctx context.Context, stream events.Stream, err error) error {
	if w := (*wrong)(nil); errors.As(err, &w) && ctx.Err() == nil && !errors.Is(err, eventstore.ErrClosed) {
		return nil
	}
	return c.trouble(ctx, Problem{Stream: stream}, err)
}

// betweenAppends folds a stream and calls look to find out what is wrong with the
// stream's claims. It repeats this until nothing was appended meanwhile, because claims
// change only with appends.
func (c *check) betweenAppends(ctx context.Context, stream events.Stream, look func(*subject) ([]Problem, error)) error {
	for range tries {
		before, err := c.Log.StreamHead(ctx, stream)
		if err != nil {
			return c.trouble(ctx, Problem{Stream: stream}, err)
		}
		s, err := c.fold(ctx, stream, math.MaxUint64)
		if err != nil {
			return c.unfolded(ctx, stream, err)
		}
		problems, err := look(s)
		if err != nil {
			return c.trouble(ctx, Problem{Stream: stream}, err)
		}
		after, err := c.Log.StreamHead(ctx, stream)
		if err != nil {
			return c.trouble(ctx, Problem{Stream: stream}, err)
		}
		if before == after {
			for _, p := range problems {
				c.found(p)
			}
			return nil
		}
	}
	c.found(Problem{Stream: stream, What: "its claims could not be compared: it is appended to all the time"})
	return nil
}
