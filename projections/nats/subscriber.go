package nats

import (
	"context"
	"log/slog"
	"sync"
	"time"

	watermill "github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// handlingTime is how long a message may be handled before the server takes
	// its reader for dead and gives it to another one.
	handlingTime = time.Minute

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
	Conn    *Conn        // required
	Durable string       // the consumer's name, one of the reserved ones; required
	Log     *slog.Logger // nil means slog.Default()
}

// Subscriber is Watermill's, over one durable consumer of the stream KONTO. The
// server keeps what was handled, so a message is handled at least once, by one
// of the nodes that share the durable: this is what makes a reactor run once in
// a cluster.
//
// Messages come one after the other, in the order of the stream. One that
// failed (Nack) comes back later, first after a second, then after twice as
// long each time, and does not hold up the others meanwhile.
type Subscriber struct {
	cfg    SubscriberConfig
	end    chan struct{}
	ending sync.Once
	loops  sync.WaitGroup
}

var _ watermill.Subscriber = (*Subscriber)(nil)

// NewSubscriber makes a subscriber. It does not touch NATS yet.
func NewSubscriber(cfg SubscriberConfig) *Subscriber {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
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

// persist consumes until ctx ends. An outage is logged once.
func (s *Subscriber) persist(ctx context.Context, subject string, out chan<- *watermill.Message) {
	away := false
	for ctx.Err() == nil {
		err := s.consume(ctx, subject, out, func() {
			if away {
				s.cfg.Log.Info("consuming from NATS again", "consumer", s.cfg.Durable)
			}
			away = false
		})
		if err != nil && ctx.Err() == nil && !away {
			s.cfg.Log.Warn("consumer waits for NATS", "consumer", s.cfg.Durable, "error", err)
			away = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryDelay):
		}
	}
}

// consume hands on messages until ctx ends or NATS fails.
func (s *Subscriber) consume(ctx context.Context, subject string, out chan<- *watermill.Message, connected func()) error {
	consumer, err := s.cfg.Conn.js.CreateOrUpdateConsumer(ctx, streamName, jetstream.ConsumerConfig{
		Durable:       s.cfg.Durable,
		FilterSubject: subject,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       handlingTime,
		MaxAckPending: maxPutOff,
	})
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
	stopped := context.AfterFunc(ctx, incoming.Stop)
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

// handOn passes a message on and waits until it is settled, also when ctx has
// ended by then: work that was done must not be done again.
func (s *Subscriber) handOn(ctx context.Context, msg jetstream.Msg, out chan<- *watermill.Message) {
	m := watermill.NewMessageWithContext(ctx, msg.Headers().Get("ce-id"), msg.Data())
	for name, values := range msg.Headers() {
		m.Metadata.Set(name, values[0])
	}
	select {
	case out <- m:
	case <-ctx.Done():
		return
	}
	var err error
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

// retryAfter is the delay before a message's next try.
func retryAfter(msg jetstream.Msg) time.Duration {
	meta, err := msg.Metadata()
	if err != nil || meta.NumDelivered > 8 {
		return lastRetry
	}
	return min(lastRetry, firstRetry<<(meta.NumDelivered-1))
}
