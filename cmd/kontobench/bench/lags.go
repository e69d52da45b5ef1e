package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/oklog/ulid/v2"
)

// Place is the place of an event in the log.
type Place struct {
	Position uint64
	ID       ulid.ULID
}

// Followed is updates at one rate, and what was seen of their effects.
type Followed struct {
	name  string
	load  *loaded
	begun time.Time
	ended time.Time
	watch *watch
	hooks *Hooks
}

// Follow measures updates, of which one in ten changes an email address, and when their effects
// are visible: at the highest rate, then at half of it. hooks is a third party that subscribed to
// changes of address. Lags works out the result, once the log can be read.
func (s Subject) Follow(ctx context.Context, hooks *Hooks, measured func()) (both []*Followed, err error) {
	rate := 0.0
	for _, name := range []string{"maximum", "half"} {
		f, err := s.follow(ctx, name, rate, hooks)
		if err != nil {
			return nil, err
		}
		both = append(both, f)
		rate = float64(f.load.latency.TotalCount()) / f.load.length.Seconds() / 2
		measured()
	}
	return both, nil
}

// recoveryTime is how long followers may take to catch up after a load.
const recoveryTime = time.Minute

func (s Subject) follow(ctx context.Context, name string, rate float64, hooks *Hooks) (*Followed, error) {
	l := s.load(mixed, s.Targets, rate, s.Length)
	l.keep = true
	watching, stop := context.WithCancel(ctx)
	defer stop()
	f := &Followed{name: name, begun: time.Now(), watch: s.Server.watch(watching), hooks: hooks}
	var err error
	if f.load, err = l.run(ctx); err != nil {
		return nil, err
	}
	f.ended = time.Now()
	before := hooks.count() // those of the earlier load have all arrived
	for _, a := range f.load.acks {
		if a.email {
			hooks.expected++
		}
	}
	if err := s.Server.CaughtUp(ctx, recoveryTime); err != nil {
		return nil, err
	}
	if err := hooks.wait(ctx, recoveryTime); err != nil {
		return nil, fmt.Errorf("%w (%d before the load's end)", err, before)
	}
	stop()
	<-f.watch.done
	return f, f.watch.err
}

// Lags works out how long after its acknowledgement each update was visible elsewhere. place finds
// in the log the event of a version of a target's account.
func (f *Followed) Lags(place func(target int, version uint64) (Place, bool)) (Lags, error) {
	r := Lags{
		Load: f.name, PerSecond: float64(f.load.latency.TotalCount()) / f.load.length.Seconds(), Errors: f.load.errors,
		P50: percentile(f.load.latency, 50), P99: percentile(f.load.latency, 99),
	}
	model, published, delivered := newLateness(), newLateness(), newLateness()
	for _, a := range f.load.acks {
		at, ok := place(a.target, a.version)
		if !ok {
			return r, fmt.Errorf("version %d of an account was acknowledged and is not in the log", a.version)
		}
		seen := []struct {
			late *lateness
			at   time.Time
			ok   bool
		}{{late: model}, {late: published}, {late: delivered}}
		seen[0].at, seen[0].ok = f.watch.reached("read-model", at.Position)
		seen[1].at, seen[1].ok = f.watch.reached("publisher", at.Position)
		if a.email {
			seen[2].at, seen[2].ok = f.hooks.arrived(at.ID)
		} else {
			seen = seen[:2]
		}
		for _, s := range seen {
			if !s.ok {
				return r, fmt.Errorf("no effect of position %d was seen", at.Position)
			}
			s.late.note(a.at, s.at)
		}
	}
	r.To = []Lag{model.lag("read model", f.ended), published.lag("published", f.ended), delivered.lag("webhook", f.ended)}
	return r, nil
}

// lateness records how late the effects of updates were.
type lateness struct {
	latency *hdrhistogram.Histogram
	last    time.Time
}

func newLateness() *lateness {
	return &lateness{latency: hdrhistogram.New(1, (2 * recoveryTime).Microseconds(), 3)}
}

// note records one effect. It may be known before the acknowledgement, because both are under way
// at the same time.
func (l *lateness) note(acknowledged, known time.Time) {
	l.latency.RecordValue(min(max(0, known.Sub(acknowledged).Microseconds()), l.latency.HighestTrackableValue()))
	if known.After(l.last) {
		l.last = known
	}
}

func (l *lateness) lag(what string, ended time.Time) Lag {
	return Lag{
		What: what, Events: l.latency.TotalCount(),
		P50: percentile(l.latency, 50), P99: percentile(l.latency, 99), Most: float64(l.latency.Max()) / 1000,
		Recovered: max(0, float64(l.last.Sub(ended).Microseconds())/1000),
	}
}
