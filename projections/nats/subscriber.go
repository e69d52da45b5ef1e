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
	"konto/projections/nats/subjects"
)

const (
	// handlingTime is how long a message may be handled before the server delivers it again, perhaps
	// to another node.
	handlingTime = time.Minute

	// orderedHandlingTime is the same for a subscriber with InOrder.
	orderedHandlingTime = 30 * time.Second

	// heartbeat is how often the server reports that there is no message. If two are missing, the
	// subscriber looks for the consumer, and makes it again if it is gone.
	heartbeat = 2 * time.Second

	// maxUnacknowledged bounds how many messages wait for another try. If so many fail, the cause is
	// not in the messages, and the server delivers no new ones.
	maxUnacknowledged = 1000

	// The delay before a message is tried again doubles from firstRetry to lastRetry.
	firstRetry = time.Second
	lastRetry  = 2 * time.Minute
)

// SubscriberConfig configures a Subscriber.
type SubscriberConfig struct {
	Conn    *Conn  // required
	Durable string // the consumer's name, one of subjects.Reserved; required
	Stream  string // "" means KONTO
	// Open makes the stream if there is none. It is called before the consumer is made. nil: others
	// make the stream.
	Open func(ctx context.Context) error
	// InOrder delivers no message before one that failed, and no two at once, not even to two nodes.
	InOrder bool
	Log     *slog.Logger // nil means slog.Default()
}

// The names under which a message's metadata says where the message is from. The other metadata are
// its headers. A header with one of these names is overwritten.
const (
	MetaSubject  = "konto-subject"
	MetaSequence = "konto-sequence" // in the stream
	MetaTime     = "konto-time"     // when the stream stored it, RFC 3339
)

// Subscriber implements Watermill's Subscriber over one durable consumer of a stream. The server
// keeps track of what was acknowledged. So each message is handled at least once, by one of the nodes
// that share the durable, and a reactor runs once in a cluster.
//
// Messages are delivered one after the other, in the order of the stream. One that failed (Nack) is
// delivered again, first after a second, then after twice as long each time. It does not hold up the
// others meanwhile, unless InOrder is set.
type Subscriber struct {
	cfg    SubscriberConfig
	end    chan struct{}
	ending sync.Once
	loops  sync.WaitGroup

	trouble projections.Trouble
}

var _ watermill.Subscriber = (*Subscriber)(nil)

// NewSubscriber makes a subscriber. It does not use NATS yet.
func NewSubscriber(cfg SubscriberConfig) *Subscriber {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Stream == "" {
		cfg.Stream = subjects.Stream
	}
	return &Subscriber{cfg: cfg, end: make(chan struct{})}
}

// Subscribe implements watermill.Subscriber. The topic is a subject and may have wildcards. Subscribe
// returns at once, also while NATS is unavailable or the stream does not exist. Messages come
// until ctx ends or Close is called.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *watermill.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *watermill.Message)
	s.loops.Go(func() {
		defer close(out)
		defer cancel()
		s.run(ctx, topic, out)
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

// Close implements watermill.Subscriber. It returns when the message that is being handled, if any,
// is acknowledged or given back.
func (s *Subscriber) Close() error {
	s.ending.Do(func() { close(s.end) })
	s.loops.Wait()
	return nil
}

// Trouble says why the subscriber waits for NATS. It is "" when it does not wait.
func (s *Subscriber) Trouble() string { return s.trouble.Text() }

// Waiting returns how many messages are not acknowledged yet.
func (s *Subscriber) Waiting(ctx context.Context) (uint64, error) {
	consumer, err := s.cfg.Conn.js.Consumer(ctx, s.cfg.Stream, s.cfg.Durable)
	if err != nil {
		return 0, unavailable("count messages", err)
	}
	found := consumer.CachedInfo() // which was asked for just now
	return found.NumPending + uint64(found.NumAckPending), nil
}

// run consumes until ctx ends. After an error it consumes again, and logs each reason once.
func (s *Subscriber) run(ctx context.Context, subject string, out chan<- *watermill.Message) {
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

// consume delivers messages until ctx ends or NATS fails.
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
	// Only one message may wait here while another is handled: the server counts the time that a
	// message waits as handling time.
	incoming, err := consumer.Messages(jetstream.PullMaxMessages(1), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return err
	}
	defer incoming.Stop()
	// Drain, not Stop: a message that has already arrived is given back at once. After Stop the server
	// would deliver it again only when its time is over.
	stopped := context.AfterFunc(ctx, incoming.Drain)
	defer stopped()
	connected()
	for {
		msg, err := incoming.Next()
		if err != nil { // also if heartbeats are missing: the consumer may be gone with its stream
			return err
		}
		s.deliver(ctx, msg, out)
	}
}

// shape is the configuration of the durable consumer.
func (s *Subscriber) shape(subject string) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:       s.cfg.Durable,
		FilterSubject: subject,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       handlingTime,
		MaxAckPending: maxUnacknowledged,
	}
	if s.cfg.InOrder {
		// The server delivers nothing while a message is being handled or waits for another try.
		cfg.MaxAckPending = 1
		// When a node is killed, its message holds up all others for this long.
		cfg.AckWait = orderedHandlingTime
	}
	return cfg
}

// deliver passes a message on and waits until it is handled, also if ctx has ended by then: work that
// was done must not be done again.
//
// After a crash before the acknowledgement is stored, the server delivers the message again.
func (s *Subscriber) deliver(ctx context.Context, msg jetstream.Msg, out chan<- *watermill.Message) {
	m, err := unpack(ctx, msg)
	if err != nil { // it is not from a stream
		s.cfg.Log.Error("message has no place in a stream", "consumer", s.cfg.Durable, "error", err)
		return
	}
	select {
	case out <- m:
	case <-ctx.Done():
		_ = msg.Nak() // if that is lost, the server delivers it when its time is over
		return
	}
	select {
	case <-m.Acked():
		err = msg.Ack()
	case <-m.Nacked():
		err = msg.NakWithDelay(retryAfter(msg))
	}
	if err != nil { // the message is delivered again
		s.cfg.Log.Warn("message could not be acknowledged", "consumer", s.cfg.Durable, "event", m.UUID, "error", err)
	}
}

// unpack returns a message in Watermill's form. Its UUID is the event's id if the stream is KONTO,
// and its sequence otherwise, because ids that others choose must not be logged.
func unpack(ctx context.Context, msg jetstream.Msg) (*watermill.Message, error) {
	from, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	sequence := strconv.FormatUint(from.Sequence.Stream, 10)
	id := sequence
	if from.Stream == subjects.Stream {
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

// retryAfter returns the delay before the next try of a message.
func retryAfter(msg jetstream.Msg) time.Duration {
	meta, err := msg.Metadata()
	if err != nil || meta.NumDelivered > 8 {
		return lastRetry
	}
	return min(lastRetry, firstRetry<<(meta.NumDelivered-1))
}
