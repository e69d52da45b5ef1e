package nats

import (
	"context"
	"errors"
	"log/slog"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

const (
	defaultRetention = 7 * 24 * time.Hour
	retryDelay       = 250 * time.Millisecond

	// saveEvery is how often the cursor is saved while all goes well. What was
	// published since is found in the stream itself, as after a crash; to save it with
	// each batch is a sync, for which the read model waits too.
	saveEvery = time.Second
)

// PublisherConfig configures the publisher.
type PublisherConfig struct {
	Conn      *Conn             // required
	Cursors   Cursors           // required
	Store     *eventstore.Store // required
	Retention time.Duration     // of messages in the stream; 0 means 7 days
	Log       *slog.Logger      // nil means slog.Default()
}

// Publisher is a projection that publishes account events to the JetStream
// stream KONTO, in log order and without gaps. Its methods but State and Trouble are called
// by one goroutine.
type Publisher struct {
	conn       *Conn
	js         jetstream.JetStream
	publishMsg func(*natsgo.Msg) error // without an acknowledgement
	embedded   bool
	cursors    Cursors
	store      *eventstore.Store
	retention  time.Duration
	log        *slog.Logger

	cursor Cursor
	saved  time.Time // when the cursor was last, amid batches
	// unsaved tells that the cursor has moved since it was saved.
	unsaved bool
	synced  bool // cursor is what the stream really held, and nothing failed since
	filled  bool // the stream held messages then, or got some since
	trouble projections.Trouble
}

var _ projections.Projection = (*Publisher)(nil)

// NewPublisher makes the publisher. It touches neither NATS nor the log yet.
func NewPublisher(cfg PublisherConfig) *Publisher {
	if cfg.Retention == 0 {
		cfg.Retention = defaultRetention
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Publisher{
		conn: cfg.Conn, js: cfg.Conn.js, publishMsg: cfg.Conn.nc.PublishMsg, embedded: cfg.Conn.embedded,
		cursors: cfg.Cursors, store: cfg.Store, retention: cfg.Retention, log: cfg.Log,
	}
}

// State is projections.StateFollowing, or StateWaiting while NATS is away.
func (p *Publisher) State() string {
	if p.Trouble() != "" {
		return projections.StateWaiting
	}
	return projections.StateFollowing
}

// Trouble tells why it waits for NATS, "" when it does not.
func (p *Publisher) Trouble() string { return p.trouble.Text() }

// Position returns the position after which publishing must go on, by what the
// stream really holds. It waits for NATS until ctx ends.
func (p *Publisher) Position(ctx context.Context) (uint64, error) {
	p.synced = false
	err := p.persist(ctx, p.sync)
	return p.cursor.Position, err
}

// Apply publishes the account events of a batch and returns when all are
// acknowledged; the cursor is saved every second, and by Rest. It waits for NATS until ctx ends. When
// the stream lost messages meanwhile, they are published first.
func (p *Publisher) Apply(ctx context.Context, batch []events.Event) error {
	if len(batch) == 0 {
		return nil
	}
	return p.persist(ctx, func(ctx context.Context) error {
		if err := p.sync(ctx); err != nil {
			return err
		}
		if err := p.catchUp(ctx, batch[0].Position-1); err != nil {
			return err
		}
		return p.publish(ctx, batch)
	})
}

// persist repeats a step until it succeeds, ctx ends, or it fails for another
// reason than NATS. An outage is logged once for each reason.
func (p *Publisher) persist(ctx context.Context, step func(context.Context) error) error {
	for {
		err := step(ctx)
		if err == nil {
			if p.trouble.Set(nil) {
				p.log.Info("publishing to NATS again")
			}
			return nil
		}
		p.synced = false
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errUnavailable) {
			return err
		}
		// Of a batch that was cut off something was stored; the next try says why.
		if !errors.Is(err, errCutOff) && p.trouble.Set(err) {
			p.log.Warn("events wait for NATS in the log", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryDelay):
		}
	}
}

// sync makes the cursor agree with the stream. A stream that is as the cursor
// says costs one request.
func (p *Publisher) sync(ctx context.Context) error {
	stream, err := p.openStream(ctx)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	emptied := p.filled && info.State.Msgs == 0
	if p.synced && !emptied && info.Created.Equal(p.cursor.StreamCreated) && info.State.LastSeq == p.cursor.Sequence {
		return nil
	}
	t, err := p.readTail(ctx, stream)
	if err != nil {
		return err
	}
	if err := p.forgetHeld(ctx, stream); err != nil {
		return err
	}
	saved, err := p.savedCursor(ctx)
	if err != nil {
		return err
	}
	var held uint64
	if t.last.position == 0 && saved.resume(t, 0) != saved.Position { // else it does not matter
		if held, err = olderThan(ctx, p.store, time.Now().Add(-p.retention), saved.Position); err != nil {
			return err
		}
	}
	next := Cursor{Position: saved.resume(t, held), Sequence: t.sequence, StreamCreated: t.created}
	if next.Event, err = eventAt(ctx, p.store, next.Position); err != nil {
		return err
	}
	if next.Position < saved.Position {
		p.log.Warn("stream lost messages, publishing them again", "stream", streamName, "after", next.Position, "upto", saved.Position)
	}
	// Saved before anything is published on top of it: the old cursor's sequence
	// says nothing about the messages that follow now.
	if err := saveCursor(ctx, p.cursors, next); err != nil {
		return err
	}
	p.cursor, p.filled, p.synced, p.unsaved = next, t.messages > 0, true, false
	return nil
}

// savedCursor returns the cursor that was saved, none when it is of another
// history: an older copy of the log was put back and has grown since.
func (p *Publisher) savedCursor(ctx context.Context) (Cursor, error) {
	saved, err := loadCursor(ctx, p.cursors)
	if err != nil {
		return Cursor{}, err
	}
	event, err := eventAt(ctx, p.store, saved.Position)
	if err != nil || event != saved.Event {
		return Cursor{}, err
	}
	return saved, nil
}

// catchUp publishes what the log holds between the cursor and a position.
func (p *Publisher) catchUp(ctx context.Context, upto uint64) error {
	for p.cursor.Position < upto {
		missed, err := p.store.ReadAll(ctx, p.cursor.Position, window)
		if err != nil {
			return err
		}
		for len(missed) > 0 && missed[len(missed)-1].Position > upto {
			missed = missed[:len(missed)-1]
		}
		if len(missed) == 0 {
			return nil // positions that the log never gave out
		}
		if err := p.publish(ctx, missed); err != nil {
			return err
		}
	}
	return nil
}

// publish sends the events that follow the cursor, and moves it.
func (p *Publisher) publish(ctx context.Context, batch []events.Event) error {
	for len(batch) > 0 && batch[0].Position <= p.cursor.Position {
		batch = batch[1:]
	}
	for len(batch) > 0 {
		part := batch[:min(window, len(batch))]
		batch = batch[len(part):]
		if err := p.publishPart(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) publishPart(ctx context.Context, part []events.Event) error {
	msgs, err := messages(part)
	if err != nil {
		return err
	}
	if err := p.send(ctx, msgs); err != nil {
		return err
	}
	if err := p.forgetPublished(ctx, part); err != nil {
		return err // sync makes up for it
	}
	next := p.cursor
	next.Position, next.Event = part[len(part)-1].Position, part[len(part)-1].ID
	next.Sequence += uint64(len(msgs))
	p.cursor, p.filled, p.unsaved = next, p.filled || len(msgs) > 0, true
	if time.Since(p.saved) < saveEvery {
		return nil
	}
	p.saved = time.Now()
	return p.Rest(ctx)
}

// Rest saves the cursor. The follower calls it when it ends: a cursor that stayed behind
// would have events published once more that aged out of the stream since.
func (p *Publisher) Rest(ctx context.Context) error {
	if !p.unsaved {
		return nil
	}
	if err := saveCursor(ctx, p.cursors, p.cursor); err != nil {
		return err
	}
	p.unsaved = false
	return nil
}
