package deliveries

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
	"konto/projections/webhook"
)

// Parties is what is known of third parties. It may be behind the log.
type Parties interface {
	// Position is that of the last event that ThirdParties knows, or knew a moment ago.
	Position(ctx context.Context) (uint64, error)
	// ThirdParties lists those that were not removed.
	ThirdParties(ctx context.Context) ([]events.ThirdParty, error)
}

// Registry records in the log what deliveries come to. Both return the position
// of the third party's last event, and may be called again with the same.
type Registry interface {
	// Disable records that nothing is sent until the third party is resumed, and why.
	Disable(ctx context.Context, id ulid.ULID, reason string) (uint64, error)
	// Checkpoint records that all events up to a position are settled.
	Checkpoint(ctx context.Context, id ulid.ULID, position uint64) (uint64, error)
}

// Sender makes one request to a third party. It returns soon after ctx ends.
type Sender interface {
	Send(ctx context.Context, party events.ThirdParty, e events.Event) webhook.Answer
}

// Config configures Deliveries.
type Config struct {
	Store    *eventstore.Store // required
	Records  eventstore.Feed   // the log that Store is over, for those who are behind; required
	Ledger   *Ledger           // required
	Parties  Parties           // required
	Registry Registry          // required
	Sender   Sender            // required
	// Schedule is the delay before each try of an event; nil means DefaultSchedule.
	Schedule []time.Duration
	// Concurrency is how many requests each third party gets at a time at most; 0 means 16.
	Concurrency int
	// Requests is how many of them are under way at most, all third parties
	// together; 0 means 512, or a third of the process's file descriptors.
	Requests int
	// Lanes is how many accounts of one third party wait for their first try at
	// most; 0 means 1000. The log keeps what follows.
	Lanes int
	// Waiting is how many accounts of one third party wait at all, for a retry
	// above all; 0 means 100,000. Some 200 bytes are kept of each.
	Waiting int
	Metrics prometheus.Registerer // nil registers nowhere
	Log     *slog.Logger          // nil means slog.Default()
}

// Deliveries tells third parties of events. Run is the unit that must run once
// in a cluster.
type Deliveries struct {
	cfg      Config
	feed     *feed
	follower *projections.Follower
	metrics  *metrics
	requests *requests

	mu      sync.Mutex
	keepers map[ulid.ULID]*keeper
	running bool
	known   uint64        // third parties are as of this position of the log, or later
	learned chan struct{} // closed and replaced when running or known changes
}

// New makes the deliveries; Run starts them. An error tells what of the
// configuration is wrong.
func New(cfg Config) (*Deliveries, error) {
	if cfg.Schedule == nil {
		cfg.Schedule = DefaultSchedule()
	}
	if err := CheckSchedule(cfg.Schedule); err != nil {
		return nil, err
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 16
	}
	if cfg.Lanes == 0 {
		cfg.Lanes = 1000
	}
	if cfg.Waiting == 0 {
		cfg.Waiting = 100_000
	}
	if cfg.Requests == 0 {
		cfg.Requests = mostRequests()
	}
	if cfg.Concurrency < 0 || cfg.Requests < 0 || cfg.Lanes < 0 || cfg.Waiting < 0 {
		return nil, errors.New("a third party gets at least one request at a time, from at least one lane")
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	d := &Deliveries{
		cfg: cfg, feed: newFeed(cfg.Store), requests: newRequests(cfg.Requests),
		keepers: map[ulid.ULID]*keeper{}, learned: make(chan struct{}),
	}
	d.follower = projections.NewFollower(projections.FollowerConfig{
		Name: "deliveries", Store: cfg.Store, Projection: d.feed, Log: cfg.Log,
	})
	var err error
	d.metrics, err = newMetrics(cfg.Metrics, d)
	return d, err
}

// Follower follows the log for all third parties. It is to be run beside Run;
// where it is says nothing of any third party.
func (d *Deliveries) Follower() *projections.Follower { return d.follower }

// Run delivers until ctx ends. It then waits for attempts under way, bounded,
// and records how far each third party has come. Whatever goes wrong with one of
// them is retried, and holds up no other.
func (d *Deliveries) Run(ctx context.Context) error {
	var keepers sync.WaitGroup
	d.learn(true, 0)
	defer func() {
		keepers.Wait()
		d.learn(false, 0)
		d.mu.Lock()
		defer d.mu.Unlock()
		clear(d.keepers)
	}()
	var known uint64
	err := d.insist(ctx, func() (err error) {
		known, err = d.cfg.Store.Head(ctx)
		return err
	})
	if err == nil {
		keepers.Go(func() { d.sweepNotices(ctx) })
	}
	for first := true; err == nil; first = false {
		if err = d.insist(ctx, func() error { return d.load(ctx, known, first, &keepers) }); err != nil {
			break
		}
		d.learn(true, known)
		known, err = d.feed.partiesAfter(ctx, known)
	}
	return nil // ctx ended
}

// insist tries until it succeeds; its error is ctx's.
func (d *Deliveries) insist(ctx context.Context, try func() error) error {
	var reported time.Time
	for delay := time.Millisecond; ; delay = min(2*delay, firstDelay) {
		err := try()
		if err == nil {
			return nil
		}
		if !errors.Is(err, errBehind) && ctx.Err() == nil && time.Since(reported) > time.Minute {
			d.cfg.Log.Error("third parties cannot be loaded", "error", err)
			reported = time.Now()
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// learn lets those who wait know what is known of third parties.
func (d *Deliveries) learn(running bool, known uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running, d.known = running, known
	close(d.learned)
	d.learned = make(chan struct{})
}

// Heed waits until deliveries go by a third party's event at a position: once a
// pause is heeded, no attempt begins any more. While Run does not run there is
// nothing to wait for.
func (d *Deliveries) Heed(ctx context.Context, position uint64) error {
	for {
		d.mu.Lock()
		heeded, learned := !d.running || d.known >= position, d.learned
		d.mu.Unlock()
		if heeded {
			return nil
		}
		select {
		case <-learned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// load brings keepers in line with the third parties as of a position, or later.
func (d *Deliveries) load(ctx context.Context, position uint64, first bool, keepers *sync.WaitGroup) error {
	parties, err := d.list(ctx, position)
	if err == nil && first {
		err = d.forgetOthers(ctx, parties)
	}
	if err == nil {
		d.align(ctx, parties, keepers)
	}
	return err
}

var errBehind = errors.New("third parties are not up to date")

// list waits for nothing: errBehind tells that Parties is not there yet.
func (d *Deliveries) list(ctx context.Context, position uint64) ([]events.ThirdParty, error) {
	at, err := d.cfg.Parties.Position(ctx)
	if err != nil {
		return nil, err
	}
	if at < position {
		return nil, errBehind
	}
	return d.cfg.Parties.ThirdParties(ctx)
}

// forgetOthers cleans up after third parties that were removed while konto was stopped.
func (d *Deliveries) forgetOthers(ctx context.Context, parties []events.ThirdParty) error {
	known, err := d.cfg.Ledger.Parties(ctx)
	if err != nil {
		return err
	}
	for _, id := range known {
		if slices.ContainsFunc(parties, func(p events.ThirdParty) bool { return p.ID == id }) {
			continue
		}
		if err := d.cfg.Ledger.ForgetParty(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// align starts, updates and removes keepers.
func (d *Deliveries) align(ctx context.Context, parties []events.ThirdParty, keepers *sync.WaitGroup) {
	d.mu.Lock()
	defer d.mu.Unlock()
	present, active := map[ulid.ULID]bool{}, 0
	for _, party := range parties {
		if party.State == events.ThirdPartyActive {
			active++
		}
	}
	d.requests.divide(active)
	for _, party := range parties {
		present[party.ID] = true
		if k := d.keepers[party.ID]; k != nil {
			k.update(party)
			continue
		}
		k := newKeeper(d, party)
		d.keepers[party.ID] = k
		keepers.Go(func() { k.keep(ctx) })
	}
	for id, k := range d.keepers {
		if !present[id] {
			k.remove()
			delete(d.keepers, id)
		}
	}
}
