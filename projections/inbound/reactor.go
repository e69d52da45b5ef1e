package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"konto/projections"
	"konto/projections/nats"
)

// handlingTime bounds one try, all of it. It is well below the time after which
// the server gives a message to another reader.
const handlingTime = 20 * time.Second

// maxPanics is how often handling a message may panic. Between the tries pass
// 1, 2, 4 and 8 seconds.
const maxPanics = 5

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
	refusals projections.LogLimiter
	trouble  projections.Trouble

	// panicked is the message in hand, when handling it panicked, and panics how
	// often. Messages come one after the other, so one is enough, without a lock.
	panicked uint64
	panics   int
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

// Trouble tells why the last message could not be settled and holds up the others,
// "" when it could.
func (r *Reactor) Trouble() string { return r.trouble.Text() }

// Run records facts until ctx ends, when it returns nil after the message under way.
func (r *Reactor) Run(ctx context.Context) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: handlingTime}, watermill.NewSlogLoggerWithLevelMapping(r.cfg.Log,
		map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})) // the router's own comings and goings
	if err != nil {
		return fmt.Errorf("start to take in facts: %w", err)
	}
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
	r.trouble.Set(err)
	return err
}

// settle records a message, or buries it.
func (r *Reactor) settle(ctx context.Context, msg *message.Message) (outcome string, err error) {
	sequence, err := strconv.ParseUint(msg.Metadata.Get(nats.MetaSequence), 10, 64)
	if err != nil {
		return "failed", fmt.Errorf("message without a place in the stream: %w", err)
	}
	m, err := r.record(ctx, msg, sequence)
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
	if leftOut, ok := r.refusals.Allow(refused.Reason); ok {
		r.cfg.Log.Warn("facts were refused and are among the dead letters", "from", m.From, "sequence", sequence,
			"reason", refused.Reason, "alike and left out", leftOut)
	}
	return "refused", nil
}

var errPanicked = errors.New("handling of facts panicked")

// record reads and records one message. A panic is an error, whose text has
// nothing of its value: that may quote the message. A message over which it
// happens again and again is refused, since all others wait behind it.
func (r *Reactor) record(ctx context.Context, msg *message.Message, sequence uint64) (m Message, err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if r.panicked != sequence {
			r.panicked, r.panics = sequence, 0
		}
		r.panics++
		r.cfg.Log.Error("handling of facts panicked", "sequence", sequence, "times", r.panics, "kind", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
		if err = errPanicked; r.panics >= maxPanics {
			err = &Refused{"konto cannot handle it"}
		}
	}()
	if m, err = read(msg); err == nil {
		err = r.cfg.Recorder.RecordFacts(ctx, m)
	}
	return m, err
}
