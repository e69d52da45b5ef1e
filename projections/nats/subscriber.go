package nats

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	watermill "github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections"
)

const (
	// handlingTime is how long a message may be handled before the server takes
	// its reader for dead and gives it to another one.
	handlingTime = time.Minute

	// orderedHandlingTime is that of a subscriber that keeps the order.
	orderedHandlingTime = 30 * time.Second

	// heartbeat is how often the server says that there is nothing. After two
	// that are missing the consumer is looked for, and made again if need be.
	heartbeat = 2 * time.Second

	// maxPutOff bounds how many messages wait for another try. With more, the
	// server gives out no new ones: then it is not the messages that are at fault.
	maxPutOff = 1000

	// The delay before a message is tried again doubles from the first to the last.
	firstRetry = time.Second
	lastRetry  = 2 * time.Minute
)

// SubscriberConfig configures a Subscriber.
type SubscriberConfig struct {
	Conn    *Conn  // required
	Durable string // the consumer's name, one of the reserved ones; required
	Stream  string // "" means KONTO
	// Open makes the stream if it is gone, before the consumer is made on it; nil
	// leaves that to others.
	Open func(ctx context.Context) error
	// InOrder lets no message overtake one that failed, nor two be handled at
	// once, not even by two nodes.
	InOrder bool
	Log     *slog.Logger // nil means slog.Default()
}

// Each message's metadata has its headers, and under these names, which no header
// can take, where it is from.
const (
	MetaSubject  = "konto-subject"
	MetaSequence = "konto-sequence" // in the stream
	MetaTime     = "konto-time"     // when the stream got it, RFC 3339
)

// Subscriber is Watermill's, over one durable consumer of a stream. The
// server keeps what was handled, so a message is handled at least once, by one
// of the nodes that share the durable: this is what makes a reactor run once in
// a cluster.
//
// Messages come one after the other, in the order of the stream. One that
// failed (Nack) comes back later, first after a second, then after twice as
// long each time, and does not hold up the others meanwhile, unless InOrder
// says so.
type Subscriber struct {
	cfg    SubscriberConfig
	end    chan struct{}
	ending sync.Once
	loops  sync.WaitGroup

	trouble projections.Trouble
}

var _ watermill.Subscriber = (*Subscriber)(nil)

// NewSubscriber makes a subscriber. It does not touch NATS yet.
func NewSubscriber(cfg SubscriberConfig) *Subscriber {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Stream == "" {
		cfg.Stream = streamName
	}
	return &Subscriber{cfg: cfg, end: make(chan struct{})}
}

// Subscribe implements watermill.Subscriber; the topic is a subject, wildcards
// included. It returns at once, also while NATS is away or the stream is not
// made yet, and goes on until ctx ends or Close is called.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *watermill.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *watermill.Message)
	s.loops.Go(func() {
		defer close(out)
		defer cancel()
		s.persist(ctx, topic, out)
	})
	s.loops.Go(func() {
		select {
		case <-s.end:
			cancel()
		case <-ctx.Done():
		}
	})
	return out, nil
}

// Close implements watermill.Subscriber. It returns when the message under way,
// if any, is settled.
func (s *Subscriber) Close() error {
	s.ending.Do(func() { close(s.end) })
	s.loops.Wait()
	return nil
}

// Trouble tells why it waits for NATS, "" when it does not.
func (s *Subscriber) Trouble() string { return s.trouble.Text() }

// persist consumes until ctx ends. An outage is logged once for each reason.
func (s *Subscriber) persist(ctx context.Context, subject string, out chan<- *watermill.Message) {
	for ctx.Err() == nil {
		err := s.consume(ctx, subject, out, func() {
			if s.trouble.Set(nil) {
				s.cfg.Log.Info("consuming from NATS again", "consumer", s.cfg.Durable)
			}
		})
		if err != nil && ctx.Err() == nil && s.trouble.Set(err) {
			s.cfg.Log.Warn("consumer waits for NATS", "consumer", s.cfg.Durable, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryDelay):
		}
	}
}

// consume hands on messages until ctx ends or NATS fails.
func (s *Subscriber) consume(ctx context.Context, subject string, out chan<- *watermill.Message, connected func()) error {
	if s.cfg.Open != nil {
		if err := s.cfg.Open(ctx); err != nil {
			return err
		}
	}
	consumer, err := s.cfg.Conn.js.CreateOrUpdateConsumer(ctx, s.cfg.Stream, s.shape(subject))
	if err != nil {
		return err
	}
	// One may wait here while another is handled, and no more: the server counts
	// those that wait as being handled.
	incoming, err := consumer.Messages(jetstream.PullMaxMessages(1), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return err
	}
	defer incoming.Stop()
	// Not Stop: a message that has arrived already is given back at once, and
	// does not have to be missed first.
	stopped := context.AfterFunc(ctx, incoming.Drain)
	defer stopped()
	connected()
	for {
		msg, err := incoming.Next()
		if err != nil { // also when the server is silent: the consumer may be gone with its stream
			return err
		}
		s.handOn(ctx, msg, out)
	}
}

// shape is the consumer that the server keeps.
func (s *Subscriber) shape(subject string) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:       s.cfg.Durable,
		FilterSubject: subject,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       handlingTime,
		MaxAckPending: maxPutOff,
	}
	if s.cfg.InOrder {
		// The server gives out nothing while a message is being handled or waits
		// for another try.
		cfg.MaxAckPending = 1
		// A message that a killed node had holds up all others for so long.
		cfg.AckWait = orderedHandlingTime
	}
	return cfg
}

// handOn passes a message on and waits until it is settled, also when ctx has
// ended by then: work that was done must not be done again.
func (s *Subscriber) handOn(ctx context.Context, msg jetstream.Msg, out chan<- *watermill.Message) {
	m, err := unpack(ctx, msg)
	if err != nil { // it is not from a stream
		s.cfg.Log.Error("message has no place in a stream", "consumer", s.cfg.Durable, "error", err)
		return
	}
	select {
	case out <- m:
	case <-ctx.Done():
		_ = msg.Nak() // unless that arrives, the server misses it after a while
		return
	}
	select {
	case <-m.Acked():
		err = msg.Ack()
	case <-m.Nacked():
		err = msg.NakWithDelay(retryAfter(msg))
	}
	if err != nil { // it comes again
		s.cfg.Log.Warn("message could not be settled", "consumer", s.cfg.Durable, "event", m.UUID, "error", err)
	}
}

// unpack makes a message Watermill's. It is called by its event's id when it is
// konto's own, else by its sequence: others' ids are not for logs.
func unpack(ctx context.Context, msg jetstream.Msg) (*watermill.Message, error) {
	from, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	sequence := strconv.FormatUint(from.Sequence.Stream, 10)
	id := sequence
	if from.Stream == streamName {
		id = msg.Headers().Get("ce-id")
	}
	m := watermill.NewMessageWithContext(ctx, id, msg.Data())
	for name, values := range msg.Headers() {
		m.Metadata.Set(name, values[0])
	}
	m.Metadata.Set(MetaSubject, msg.Subject())
	m.Metadata.Set(MetaSequence, sequence)
	m.Metadata.Set(MetaTime, from.Timestamp.UTC().Format(time.RFC3339Nano))
	return m, nil
}

// retryAfter is the delay before a message's next try.
func retryAfter(msg jetstream.Msg) time.Duration {
	meta, err := msg.Metadata()
	if err != nil || meta.NumDelivered > 8 {
		return lastRetry
	}
	return min(lastRetry, firstRetry<<(meta.NumDelivered-1))
}
