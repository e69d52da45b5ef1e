package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
	"konto/projections/nats/subjects"
)

const (
	defaultRetention = 7 * 24 * time.Hour
	retryDelay       = 250 * time.Millisecond

	// pageSize is how many events the publisher reads from the log at a time.
	pageSize = 2000

	// saveEvery is how often the cursor is saved while publishing succeeds. To save it with each
	// batch costs a sync, for which the read model waits too.
	saveEvery = time.Second
)

// PublisherConfig configures a Publisher.
type PublisherConfig struct {
	Conn      *Conn             // required
	Cursors   Cursors           // required
	Store     *eventstore.Store // required
	Retention time.Duration     // of messages in the stream; 0 means 7 days
	// Held returns an error unless this node is the one that publishes. It is asked before a message
	// is deleted, which JetStream would let any node do. nil: it always is.
	Held func(ctx context.Context) error
	Log  *slog.Logger // nil means slog.Default()
}

// state is what the publisher knows about the stream.
//
//	          compare
//	unknown ───────────▶ empty ── publish ──▶ filled
//	   ▲  └─────────────────────────────────▶   │
//	   └── a failure, or the stream changed ────┘
type state int

const (
	// stateUnknown: the cursor may not agree with the stream. The publisher begins here, and
	// returns here after every failure.
	stateUnknown state = iota
	// stateEmpty: the cursor agrees with the stream, which held no message.
	stateEmpty
	// stateFilled: the cursor agrees with the stream, which held or got messages.
	stateFilled
)

// Publisher is a projection that publishes account events to the JetStream stream KONTO, in log
// order and without gaps. This file has its steps in order:
//
//	Open, ready   open the stream; if it is as the cursor says, continue with publish
//	compare       read the end of the stream and decide after which position to continue
//	catchUp       publish what the stream lost before the batch
//	publish       send a batch, overwrite erased accounts, move the cursor
//	Rest          save the cursor
//
// Its methods are called by one goroutine, except State and Trouble.
type Publisher struct {
	conn      *Conn
	send      func(*natsgo.Msg) error // without an acknowledgement
	cursors   Cursors
	store     *eventstore.Store
	retention time.Duration
	held      func(ctx context.Context) error
	log       *slog.Logger

	state   state
	cursor  Cursor    // what was published
	saved   Cursor    // what save last wrote to Cursors
	savedAt time.Time // when a batch last saved it
	trouble projections.Trouble
}

var _ projections.Projection = (*Publisher)(nil) // its follower calls Open and Rest, too

// NewPublisher makes a publisher. It does not use NATS or the log yet.
func NewPublisher(cfg PublisherConfig) *Publisher {
	if cfg.Retention == 0 {
		cfg.Retention = defaultRetention
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Held == nil {
		cfg.Held = func(context.Context) error { return nil }
	}
	return &Publisher{
		conn: cfg.Conn, send: cfg.Conn.nc.PublishMsg,
		cursors: cfg.Cursors, store: cfg.Store, retention: cfg.Retention, held: cfg.Held, log: cfg.Log,
	}
}

// State is projections.StateFollowing, or StateWaiting while NATS is unavailable.
func (p *Publisher) State() string {
	if p.Trouble() != "" {
		return projections.StateWaiting
	}
	return projections.StateFollowing
}

// Trouble says why the publisher waits for NATS. It is "" when the publisher does not wait.
func (p *Publisher) Trouble() string { return p.trouble.Text() }

// Position returns the position of the cursor: the one that is saved, until Open or Apply compared
// it with the stream. Position changes nothing and does not use NATS.
func (p *Publisher) Position(ctx context.Context) (uint64, error) {
	if p.state != stateUnknown {
		return p.cursor.Position, nil
	}
	saved, err := p.savedCursor(ctx)
	return saved.Position, err
}

// Open makes the stream if there is none, and compares the cursor with it, so that Position is
// that of the stream. It waits for NATS until ctx ends.
//
// It may be called again, after another node has published: what this one knew is forgotten.
func (p *Publisher) Open(ctx context.Context) error {
	p.state, p.cursor, p.saved = stateUnknown, Cursor{}, Cursor{}
	return p.retry(ctx, p.ready)
}

// Apply publishes the account events of a batch. It returns when the server has acknowledged all of
// them, and waits for NATS until ctx ends. If the stream lost messages, Apply publishes them first.
// Events that the stream already holds are dropped.
func (p *Publisher) Apply(ctx context.Context, batch []events.Event) error {
	if len(batch) == 0 {
		return nil
	}
	return p.retry(ctx, func(ctx context.Context) error {
		if err := p.ready(ctx); err != nil {
			return err
		}
		if err := p.catchUp(ctx, batch[0].Position-1); err != nil {
			return err
		}
		return p.publish(ctx, batch)
	})
}

// retry repeats a step until it succeeds, ctx ends, or it fails for another reason than NATS. Each
// reason is logged once.
func (p *Publisher) retry(ctx context.Context, step func(context.Context) error) error {
	for {
		err := step(ctx)
		if err == nil {
			if p.trouble.Set(nil) {
				p.log.Info("publishing to NATS again")
			}
			return nil
		}
		p.state = stateUnknown
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errUnavailable) {
			return err
		}
		// Part of a batch that was cut off is stored. The next try finds out why.
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

// ready opens the stream, and compares the cursor with it unless it is as the cursor says, which
// one request shows.
//
// A crash here leaves the stream made, or changed to what konto needs. The next start does the rest.
func (p *Publisher) ready(ctx context.Context) error {
	stream, err := p.openStream(ctx)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	emptied := p.state == stateFilled && info.State.Msgs == 0
	same := info.Created.Equal(p.cursor.StreamCreated) && info.State.LastSeq == p.cursor.Sequence
	if p.state != stateUnknown && same && !emptied {
		return nil
	}
	return p.compare(ctx, stream)
}

// compare reads the end of the stream and sets the cursor to where publishing continues.
//
// After a crash before the cursor is saved, the next start does all of this again: the stream did
// not change, except that more messages of erased accounts are overwritten. After a crash behind it,
// the next start finds a cursor that agrees with the stream.
func (p *Publisher) compare(ctx context.Context, stream jetstream.Stream) error {
	end, err := p.readEnd(ctx, stream)
	if err != nil {
		return err
	}
	// konto may have been killed after it published an erasure. What the stream holds is not
	// published again, so publish does not overwrite the account.
	if err := p.overwriteErasedAccounts(ctx, stream); err != nil {
		return err
	}
	saved, err := p.savedCursor(ctx)
	if err != nil {
		return err
	}
	var aged uint64
	if end.last.position == 0 && saved.resume(end, 0) != saved.Position { // only then resume uses aged
		if aged, err = p.olderThanRetention(ctx, saved.Position); err != nil {
			return err
		}
	}
	next := Cursor{Position: saved.resume(end, aged), Sequence: end.sequence, StreamCreated: end.created}
	if next.Event, err = p.eventAt(ctx, next.Position); err != nil {
		return err
	}
	if next.Position < saved.Position {
		p.log.Warn("stream lost messages, publishing them again", "stream", subjects.Stream, "after", next.Position, "upto", saved.Position)
	}
	// The cursor is saved before anything is published on top of it: the sequence of the old one
	// says nothing about the messages that follow.
	if err := p.save(ctx, next); err != nil {
		return err
	}
	p.cursor, p.state = next, stateEmpty
	if end.messages > 0 {
		p.state = stateFilled
	}
	return nil
}

// catchUp publishes the events between the cursor and a position, which the stream lost.
func (p *Publisher) catchUp(ctx context.Context, upto uint64) error {
	for p.cursor.Position < upto {
		missed, err := p.store.ReadAll(ctx, p.cursor.Position, pageSize)
		if err != nil {
			return err
		}
		for len(missed) > 0 && missed[len(missed)-1].Position > upto {
			missed = missed[:len(missed)-1]
		}
		if len(missed) == 0 {
			return nil // positions that the log never used
		}
		if err := p.publish(ctx, missed); err != nil {
			return err
		}
	}
	return nil
}

// publish sends the events of a batch that are behind the cursor, overwrites the accounts whose erasure
// it published, and moves the cursor.
func (p *Publisher) publish(ctx context.Context, batch []events.Event) error {
	for len(batch) > 0 && batch[0].Position <= p.cursor.Position {
		batch = batch[1:]
	}
	if len(batch) == 0 {
		return nil
	}
	msgs, err := messages(batch)
	if err != nil {
		return err
	}
	// After a crash in sendAll the stream holds a prefix of the messages. compare reads its last one
	// and continues behind it.
	if err := p.sendAll(ctx, msgs); err != nil {
		return err
	}
	// After a crash before or in this step compare overwrites what is left.
	if err := p.overwriteErasedBy(ctx, batch); err != nil {
		return err
	}
	last := batch[len(batch)-1]
	p.cursor.Position, p.cursor.Event = last.Position, last.ID
	p.cursor.Sequence += uint64(len(msgs))
	if len(msgs) > 0 {
		p.state = stateFilled
	}
	// After a crash before the cursor is saved compare also continues behind the last message. Only
	// events that are not published, such as those of credentials, are read again.
	if time.Since(p.savedAt) < saveEvery {
		return nil
	}
	p.savedAt = time.Now()
	return p.save(ctx, p.cursor)
}

// sendAll sends messages and returns when the server has stored them all.
//
// Each message names the sequence that it must follow. If one is lost or late, the server refuses
// all after it: the stream holds a prefix, never a hole, and the acknowledgement of the last message
// is one for all of them. (To ask for one with each costs a quarter more.) The first message asks for
// one too: it says why when the server stores nothing, while the last is only out of sequence. After
// a failure compare finds out what was stored.
func (p *Publisher) sendAll(ctx context.Context, msgs []events.Message) error {
	var reused envelope
	var first, last jetstream.PubAckFuture
	var failed error
	for i, m := range msgs {
		after := p.cursor.Sequence + uint64(i)
		switch i {
		case 0:
			first, failed = p.sendForAck(m, after)
		case len(msgs) - 1:
			last, failed = p.sendForAck(m, after)
		default:
			failed = p.send(reused.put(m, after))
		}
		if failed != nil {
			failed = unavailable("publish", failed)
			break
		}
	}
	// Both answers are awaited, so that no message is under way when compare reads the end of the
	// stream. Only the first failure says why.
	if err := await(ctx, first, p.cursor.Sequence+1); failed == nil {
		failed = err
	}
	if err := await(ctx, last, p.cursor.Sequence+uint64(len(msgs))); failed == nil {
		failed = err
		if outOfSequence(err) {
			failed = fmt.Errorf("%w: %w", errCutOff, err)
		}
	}
	return failed
}

// errCutOff is matched when the first message of a batch was stored and the last was out of
// sequence: the server lost or refused a message between them, without an answer. The next batch
// begins with that message and asks for its acknowledgement.
var errCutOff = errors.New("a message within the batch was not stored")

func outOfSequence(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) &&
		(refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// sendForAck sends a message, to be stored after the one with a sequence, and asks for its
// acknowledgement. The client must not retry: the message would come after its successors.
func (p *Publisher) sendForAck(m events.Message, after uint64) (jetstream.PubAckFuture, error) {
	return p.conn.js.PublishMsgAsync(new(envelope).put(m, after), jetstream.WithRetryAttempts(0))
}

// await waits for an acknowledgement, if there is one to wait for. It must say that the message is
// stored where it belongs. A single server checks the expected sequence before the id, so that its
// "duplicate" means that the id was stored earlier, and perhaps purged since. A cluster checks the id
// first, so that "duplicate" may be the answer to a message that is where it belongs.
func await(ctx context.Context, ack jetstream.PubAckFuture, want uint64) error {
	if ack == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-ack.Err():
		return unavailable("publish", err)
	case at := <-ack.Ok():
		if at.Sequence != want {
			return unavailable("publish", fmt.Errorf("stored at sequence %d instead of %d (duplicate: %t)", at.Sequence, want, at.Duplicate))
		}
		return nil
	}
}

// Rest saves the cursor. The follower calls it when it ends: with a cursor that is left behind,
// events that aged out of the stream since would be published again.
func (p *Publisher) Rest(ctx context.Context) error {
	if p.cursor == p.saved {
		return nil
	}
	return p.save(ctx, p.cursor)
}

// eventAt returns the id of the event at a position. It is zero if the log holds none.
//
// Another node may have published what the feed of this one has not reached. It must not look as if
// the cursor, or a message, were of another log: then everything would be published again.
func (p *Publisher) eventAt(ctx context.Context, position uint64) (id ulid.ULID, err error) {
	if position == 0 {
		return id, nil
	}
	head, err := p.store.Head(ctx)
	if err != nil || head < position {
		return id, err
	}
	if err := p.store.Wait(ctx, position-1); err != nil {
		return id, err
	}
	at, err := p.store.ReadAll(ctx, position-1, 1)
	if err != nil || len(at) == 0 || at[0].Position != position {
		return id, err
	}
	return at[0].ID, nil
}

// cursorName is the publisher's name among the cursors.
const cursorName = "publisher"

// Cursors stores cursors by name. *projections.ReadModel implements it for one node, and
// *postgres.Cursors for the one of many that may publish.
type Cursors interface {
	// Cursor returns what SetCursor last stored under a name, nil if nothing was.
	Cursor(ctx context.Context, name string) ([]byte, error)
	// SetCursor stores a value durably.
	SetCursor(ctx context.Context, name string, value []byte) error
}

// Cursor says up to which event the publisher published, and to which stream. The zero Cursor means
// that nothing was published.
type Cursor struct {
	Position      uint64    `json:"position"`
	Event         ulid.ULID `json:"event"`    // at Position; it shows that the cursor is of this log
	Sequence      uint64    `json:"sequence"` // the stream's last when the cursor was written
	StreamCreated time.Time `json:"streamCreated"`
}

// resume returns the position after which publishing continues. aged is the position up to which
// events are older than the stream's retention.
//
//	stream          cursor   last message is                 continue after
//	holds messages  fits     behind the cursor's sequence    the message's event
//	holds messages  fits     not, or not of this log         the cursor
//	holds messages  other    of this log                     the message's event
//	holds messages  other    not of this log                 as if the stream were empty
//	none, or empty  any      -                               the cursor, but not after the last event
//	                                                         that is older than the retention
//	none, or empty  none     -                               0: the whole log
//
// A cursor fits if the stream is the one that it was written for and holds at least as much.
// Sequences never go down when messages age out or are purged, only when files were lost.
func (c Cursor) resume(end streamEnd, aged uint64) uint64 {
	fits := c.StreamCreated.Equal(end.created) && end.sequence >= c.Sequence
	switch {
	case end.messages > 0 && fits && (end.last.position == 0 || end.last.sequence <= c.Sequence):
		return c.Position // what the stream holds behind the cursor, if anything, is not konto's
	case end.messages > 0 && end.last.position > 0:
		return end.last.position
	case c == Cursor{}:
		return 0
	}
	return min(c.Position, aged)
}

// savedCursor returns the cursor that was saved. It is zero if that one is of another history: an
// older copy of the log was restored and has grown since.
func (p *Publisher) savedCursor(ctx context.Context) (c Cursor, err error) {
	value, err := p.cursors.Cursor(ctx, cursorName)
	if err == nil && len(value) > 0 {
		err = json.Unmarshal(value, &c)
	}
	if err != nil {
		return Cursor{}, fmt.Errorf("load the publisher's cursor: %w", err)
	}
	event, err := p.eventAt(ctx, c.Position)
	if err != nil || event != c.Event {
		return Cursor{}, err
	}
	return c, nil
}

func (p *Publisher) save(ctx context.Context, c Cursor) error {
	value, err := json.Marshal(c)
	if err == nil {
		err = p.cursors.SetCursor(ctx, cursorName, value)
	}
	if err != nil {
		return fmt.Errorf("save the publisher's cursor: %w", err)
	}
	p.saved = c
	return nil
}

// olderThanRetention returns the position before the first event, upto at most, that is younger than
// the retention. It reads all events up to there: a clock may have been wrong and set right, so that
// times do not follow positions, and a bisection could miss events that are young enough. It is
// called only when a stream that was published to is empty.
func (p *Publisher) olderThanRetention(ctx context.Context, upto uint64) (uint64, error) {
	limit := time.Now().Add(-p.retention)
	var after uint64
	for after < upto {
		page, err := p.store.ReadAll(ctx, after, pageSize)
		if err != nil {
			return 0, err
		}
		for _, e := range page {
			if e.Position > upto || !e.Time.Before(limit) {
				return after, nil
			}
			after = e.Position
		}
		if len(page) == 0 {
			return after, nil
		}
	}
	return after, nil
}
