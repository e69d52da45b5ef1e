package deliveries

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// Position is the position of the last event that ThirdParties includes, or included a
	// moment ago.
	Position(ctx context.Context) (uint64, error)
	// ThirdParties lists those that were not removed.
	ThirdParties(ctx context.Context) ([]events.ThirdParty, error)
}

// Registry appends to the log what deliveries result in. Both methods return the position
// of the third party's last event, and may be called again with the same arguments.
type Registry interface {
	// Disable records that nothing is sent until the third party is resumed, and why.
	Disable(ctx context.Context, id ulid.ULID, reason string) (uint64, error)
	// Checkpoint records that all events up to a position are done.
	Checkpoint(ctx context.Context, id ulid.ULID, position uint64) (uint64, error)
}

// Sender makes one request to a third party. It returns soon after ctx ends.
type Sender interface {
	Send(ctx context.Context, party events.ThirdParty, e events.Event) webhook.Answer
}

// Config configures Deliveries.
type Config struct {
	Store    *eventstore.Store // of the events; required
	Records  eventstore.Feed   // the log that Store is over, read by third parties that are behind the feed; required
	DB       Store             // required
	Parties  Parties           // required
	Registry Registry          // required
	Sender   Sender            // required
	// Schedule is the delay before each attempt with an event; nil means DefaultSchedule.
	Schedule []time.Duration
	// Concurrency is how many requests each third party gets at a time at most; 0 means 16.
	Concurrency int
	// Requests is how many requests are under way at most, over all third parties; 0 means
	// 512, or a third of the process's file descriptors if that is less.
	Requests int
	// Untried is how many accounts of one third party wait for their first attempt at
	// most; 0 means 1000. The log keeps what follows.
	Untried int
	// Waiting is how many accounts of one third party wait at most, above all for a retry;
	// 0 means 100,000. Each takes some 250 bytes of memory.
	Waiting int
	Metrics prometheus.Registerer // nil means that metrics are registered nowhere
	Log     *slog.Logger          // nil means slog.Default()
}

// Deliveries sends events to third parties. Several processes may Run if they have one Store: then
// one of them at a time sends to a third party.
type Deliveries struct {
	cfg      Config
	feed     *feed
	follower *projections.Follower
	metrics  *metrics
	requests *requests

	mu       sync.Mutex
	parties  map[ulid.ULID]*thirdParty
	running  bool
	loaded   uint64        // the third parties are as of this position of the log, or later
	reloaded chan struct{} // closed and replaced when running or loaded changes
}

// New makes the deliveries; Run starts them. An error says what is wrong with the
// configuration.
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
	if cfg.Untried == 0 {
		cfg.Untried = 1000
	}
	if cfg.Waiting == 0 {
		cfg.Waiting = 100_000
	}
	if cfg.Requests == 0 {
		cfg.Requests = mostRequests()
	}
	if cfg.Concurrency < 0 || cfg.Requests < 0 || cfg.Untried < 0 || cfg.Waiting < 0 {
		return nil, errors.New("a third party gets at least one request at a time, for at least one account")
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	d := &Deliveries{
		cfg: cfg, feed: newFeed(cfg.Store), requests: newRequests(cfg.Requests),
		parties: map[ulid.ULID]*thirdParty{}, reloaded: make(chan struct{}),
	}
	d.follower = projections.NewFollower(projections.FollowerConfig{
		Name: "deliveries", Store: cfg.Store, Projection: d.feed, Log: cfg.Log,
	})
	var err error
	d.metrics, err = newMetrics(cfg.Metrics, d)
	return d, err
}

// Follower follows the log for all third parties. It has to run beside Run. Its position
// says nothing about any third party.
func (d *Deliveries) Follower() *projections.Follower { return d.follower }

// Run delivers until ctx ends. It then waits for requests under way, bounded, and records
// how far each third party has come. An error with one third party is retried and does not
// hold up another.
func (d *Deliveries) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	d.setLoaded(true, 0)
	defer func() {
		workers.Wait()
		d.setLoaded(false, 0)
		d.mu.Lock()
		defer d.mu.Unlock()
		clear(d.parties)
	}()
	var stored []ulid.ULID
	var position uint64
	err := d.retry(ctx, func() (err error) {
		// The store comes first: what it has of a third party that another process adds now, this
		// process would take for that of one that was removed.
		if stored, err = d.cfg.DB.Parties(ctx); err == nil {
			position, err = d.cfg.Store.Head(ctx)
		}
		return err
	})
	for err == nil {
		if err = d.retry(ctx, func() error { return d.load(ctx, position, stored, &workers) }); err != nil {
			break
		}
		stored = nil
		d.setLoaded(true, position)
		position, err = d.feed.partiesAfter(ctx, position)
	}
	return nil // ctx ended
}

// retry calls try until it succeeds; its error is ctx's.
func (d *Deliveries) retry(ctx context.Context, try func() error) error {
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

func (d *Deliveries) setLoaded(running bool, position uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running, d.loaded = running, position
	close(d.reloaded)
	d.reloaded = make(chan struct{})
}

// WaitFor waits until deliveries obey a third party's event at a position: after a pause no
// request begins any more. It returns at once unless Run runs.
func (d *Deliveries) WaitFor(ctx context.Context, position uint64) error {
	for {
		d.mu.Lock()
		obeyed, reloaded := !d.running || d.loaded >= position, d.reloaded
		d.mu.Unlock()
		if obeyed {
			return nil
		}
		select {
		case <-reloaded:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errBehind means that Parties has not come to a position yet.
var errBehind = errors.New("third parties are not up to date")

// load starts, updates and stops the work for third parties, as they are at a position or
// later. Of those in stored, it deletes the ones that were removed. Error: errBehind.
func (d *Deliveries) load(ctx context.Context, position uint64, stored []ulid.ULID, workers *sync.WaitGroup) error {
	at, err := d.cfg.Parties.Position(ctx)
	if err != nil {
		return err
	}
	if at < position {
		return errBehind
	}
	parties, err := d.cfg.Parties.ThirdParties(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	active := 0
	for i := range parties {
		if parties[i].State == events.ThirdPartyActive {
			active++
		}
	}
	d.requests.divide(active)
	present := map[ulid.ULID]bool{}
	for _, party := range parties {
		present[party.ID] = true
		if t := d.parties[party.ID]; t != nil {
			t.update(party)
			continue
		}
		t := newThirdParty(d, party)
		d.parties[party.ID] = t
		workers.Go(func() { t.work(ctx) })
	}
	for id, t := range d.parties {
		if !present[id] {
			t.remove()
			delete(d.parties, id)
		}
	}
	for _, id := range stored {
		if !present[id] { // removed while konto was stopped
			t := newThirdParty(d, events.ThirdParty{ID: id})
			t.remove()
			workers.Go(func() { t.work(ctx) })
		}
	}
	return nil
}

// catchUp waits, bounded, until deliveries obey what is in the log now. Another process that was
// just told to send no more has let this one send.
func (d *Deliveries) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	position, err := d.cfg.Store.Head(ctx)
	for err == nil {
		head, parties, moved := d.feed.watch()
		if head >= position {
			return d.WaitFor(ctx, parties)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return fmt.Errorf("wait until this node has read the log: %w", err)
}

// Rewind makes a third party be sent everything after a position again, in order. Requests
// under way are waited for, bounded. Error: ErrNotReached.
func (d *Deliveries) Rewind(ctx context.Context, party ulid.ULID, position uint64) error {
	d.mu.Lock()
	t := d.parties[party]
	if t == nil {
		defer d.mu.Unlock() // so that no run begins meanwhile
		return d.cfg.DB.Rewind(ctx, party, position)
	}
	d.mu.Unlock()
	return t.rewind(ctx, position)
}
