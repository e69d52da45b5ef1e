package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"konto/projections/nats"
)

// handlingTime bounds one try, all of it. It is well below the time after which
// the server gives a message to another reader.
const handlingTime = 20 * time.Second

// Recorder records facts in the log.
type Recorder interface {
	// RecordFacts returns once the facts are durable. What was recorded under the
	// message's name before is not recorded again. A *Refused means that it never
	// will be; after any other error the same message is given again, and
	// whatever came after it waits.
	RecordFacts(ctx context.Context, m Message) error
}

// DeadLetters keeps what was refused.
type DeadLetters interface {
	// Bury returns once the message with that sequence in the stream is stored
	// among the dead letters, with the reason. To bury one twice is harmless.
	Bury(ctx context.Context, sequence uint64, reason string) error
}

// Config configures a Reactor.
type Config struct {
	// Subscriber gives the messages of KONTO_INBOUND one after the other, each at
	// least once, and one that failed before any other; required.
	Subscriber  message.Subscriber
	Recorder    Recorder              // required
	DeadLetters DeadLetters           // required
	Metrics     prometheus.Registerer // nil: they go nowhere
	Log         *slog.Logger          // nil means slog.Default()
}

// Reactor records the facts that other systems send.
type Reactor struct {
	cfg      Config
	messages *prometheus.CounterVec // by what became of them
}

// New makes a reactor; Run starts it.
func New(cfg Config) *Reactor {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	r := &Reactor{cfg: cfg, messages: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "konto_inbound_messages_total",
		Help: "Messages of other systems: recorded (or known before), refused (now dead letters), failed (and tried again).",
	}, []string{"outcome"})}
	cfg.Metrics.MustRegister(r.messages)
	return r
}

// Run records facts until ctx ends, when it returns nil after the message under way.
func (r *Reactor) Run(ctx context.Context) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: handlingTime}, watermill.NewSlogLoggerWithLevelMapping(r.cfg.Log,
		map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})) // the router's own comings and goings
	if err != nil {
		return fmt.Errorf("start to take in facts: %w", err)
	}
	router.AddMiddleware(middleware.Recoverer)
	router.AddConsumerHandler("inbound", nats.FactsSubject, r.cfg.Subscriber, r.handle)
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("take in facts: %w", err)
	}
	return nil
}

// handle settles one message. An error makes it come again.
func (r *Reactor) handle(msg *message.Message) error {
	// What is under way is finished although Run is to end: it would only be done
	// again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(msg.Context()), handlingTime)
	defer cancel()
	outcome, err := r.settle(ctx, msg)
	r.messages.WithLabelValues(outcome).Inc()
	return err
}

// settle records a message, or buries it.
func (r *Reactor) settle(ctx context.Context, msg *message.Message) (outcome string, err error) {
	sequence, err := strconv.ParseUint(msg.Metadata.Get(nats.MetaSequence), 10, 64)
	if err != nil {
		return "failed", fmt.Errorf("message without a place in the stream: %w", err)
	}
	m, err := read(msg)
	if err == nil {
		err = r.cfg.Recorder.RecordFacts(ctx, m)
	}
	var refused *Refused
	switch {
	case err == nil:
		return "recorded", nil
	case !errors.As(err, &refused):
		return "failed", err
	}
	if err := r.cfg.DeadLetters.Bury(ctx, sequence, refused.Reason); err != nil {
		return "failed", err
	}
	r.cfg.Log.Warn("facts were refused and are among the dead letters", "from", m.From, "sequence", sequence, "reason", refused.Reason)
	return "refused", nil
}
