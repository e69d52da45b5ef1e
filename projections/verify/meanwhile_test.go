package verify

import (
	"context"
	"errors"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

func TestReadModelThatIsBehindIsComparedWhereItIs(t *testing.T) {
	h := begin(t)
	h.populate(t, 3)
	behind, err := h.model.Position(t.Context())
	must(t, err)
	again := h.live(t, 50) // with sessions that a new password closes
	for position := behind; position < behind+uint64(15); position++ {
		must(t, h.catchUp(t.Context(), position))
		if report := clean(t, h); report.Position-report.Behind != position {
			t.Errorf("%d behind %d, not at %d", report.Behind, report.Position, position)
		}
	}
	must(t, h.follow(t.Context()))
	again.write(events.ProfileUpdated{FirstName: events.Set("Eva")})
	clean(t, h)
}

// TestWhatIsAppendedMeanwhileIsNoProblem checks a folder in which much happens.
func TestWhatIsAppendedMeanwhileIsNoProblem(t *testing.T) {
	h := begin(t)
	h.populate(t, 5)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	busy := make(chan error, 2)
	go func() {
		defer func() { busy <- nil }()
		for n := 1000; ctx.Err() == nil; n++ {
			h.live(t, n)
		}
	}()
	go func() {
		for ctx.Err() == nil {
			if err := h.follow(ctx); err != nil && ctx.Err() == nil {
				busy <- err
				return
			}
		}
		busy <- nil
	}()
	for range 10 {
		clean(t, h)
	}
	stop()
	for range 2 {
		must(t, <-busy)
	}
	must(t, h.follow(t.Context()))
	clean(t, h)
}

// meddled is a log to which something happens after each page of all streams,
// and after each of one stream.
type meddled struct {
	Log
	then, thenOfOne func(page []eventstore.Record)
}

func (m meddled) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	page, err := m.Log.ReadStream(ctx, stream, after, limit)
	m.thenOfOne(page)
	return page, err
}

func (m meddled) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	page, err := m.Log.ByStream(ctx, stream, after, limit)
	m.then(page)
	return page, err
}

// TestWhatHappensBetweenTwoReadsIsNoProblem lets accounts that were read change
// before their rows and claims are, and again while they are looked at again.
func TestWhatHappensBetweenTwoReadsIsNoProblem(t *testing.T) {
	h := begin(t)
	accounts := h.populate(t, 12)
	changing := func() (map[events.Stream]*author, func([]eventstore.Record)) {
		left := map[events.Stream]*author{}
		for _, a := range accounts {
			if a != nil {
				left[a.stream] = a
			}
		}
		return left, func(page []eventstore.Record) {
			for _, r := range page {
				if a := left[r.Stream]; a != nil {
					delete(left, r.Stream)
					a.write(events.EmailChanged{PreviousEmail: a.account.Email, NewEmail: ulid.Make().String() + "@example.com", How: events.EmailDirect})
				}
			}
			must(t, h.follow(t.Context()))
		}
	}
	cfg := h.config()
	cfg.Page = 1000 // all of the log
	first, then := changing()
	second, whileRow := changing()
	third, whileClaims := changing()
	cfg.Log = meddled{h.log, then, func(page []eventstore.Record) {
		if len(page) > 0 && second[page[0].Stream] == nil {
			whileClaims(page)
		}
		whileRow(page)
	}}
	report, err := Run(t.Context(), cfg)
	must(t, err)
	if !report.OK || len(first)+len(second)+len(third) > 0 {
		t.Errorf("%d accounts left alone: %+v", len(first)+len(second)+len(third), report)
	}
}

// TestReportNamesThePositionWhereItBegan has an account opened whose events are
// folded all the same.
func TestReportNamesThePositionWhereItBegan(t *testing.T) {
	h := begin(t)
	h.populate(t, 3)
	began, err := h.store.Head(t.Context())
	must(t, err)
	cfg, walked := h.config(), false
	cfg.Page = 2
	cfg.Log = meddled{h.log, func([]eventstore.Record) {
		if !walked {
			h.opened(t, 90)
			must(t, h.follow(t.Context()))
		}
		walked = true
	}, func([]eventstore.Record) {}}
	report, err := Run(t.Context(), cfg)
	must(t, err)
	if report.Position != began || report.Behind != 0 || !report.OK {
		t.Errorf("%+v, with the head at %d when it began", report, began)
	}
}

func TestRunEndsWithItsContextAndItsLog(t *testing.T) {
	h := begin(t)
	h.populate(t, 2)
	for _, unit := range []string{"files", "records", "events", "claims", "receipts"} {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := h.config()
		cfg.Progress = func(_, _ uint64, of string) {
			if of == unit {
				cancel()
			}
		}
		if report, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) || report.Found > 0 {
			t.Errorf("in %s: %v, %+v", unit, err, report)
		}
	}
	cfg := h.config()
	cfg.Progress = func(_, _ uint64, of string) {
		if of == "events" {
			must(t, h.log.Close())
		}
	}
	if report, err := Run(t.Context(), cfg); !errors.Is(err, eventstore.ErrClosed) || report.Found > 0 {
		t.Errorf("%v, %+v", err, report)
	}
}
