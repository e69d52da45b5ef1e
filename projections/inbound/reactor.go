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
	"konto/projections/nats/subjects"
)

// handlingTime bounds one try to handle a message. It is well below the time after which the server
// delivers the message to another node.
const handlingTime = 20 * time.Second

// maxPanics is how often handling a message may panic before the message is refused. Between the tries
// pass 1, 2, 4 and 8 seconds.
const maxPanics = 5

// Recorder records facts in the log.
type Recorder interface {
	// RecordFacts returns once the facts are durable. What was recorded under the message's name before
	// is not recorded again. A *Refused means that the message can never be recorded. After any other
	// error the same message is delivered again, and those behind it wait.
	RecordFacts(ctx context.Context, m Message) error
}

// DeadLetters stores what was refused.
type DeadLetters interface {
	// StoreDeadLetter returns once the message with a sequence in the stream is stored among the dead
	// letters, with the reason. To store it twice does no harm.
	StoreDeadLetter(ctx context.Context, sequence uint64, reason string) error
}

// Config configures a Reactor.
type Config struct {
	// Subscriber delivers the messages of KONTO_INBOUND one after the other, each at least once, and one
	// that failed before any other; required.
	Subscriber  message.Subscriber
	Recorder    Recorder              // required
	DeadLetters DeadLetters           // required
	Metrics     prometheus.Registerer // nil: nobody reads them
	Log         *slog.Logger          // nil means slog.Default()
}

// Reactor records the facts that other systems send.
type Reactor struct {
	cfg      Config
	messages *prometheus.CounterVec // by outcome
	refusals projections.LogLimiter
	trouble  projections.Trouble

	// panicked is the sequence of the message over which konto last panicked, and panics how often.
	// Messages come one after the other, so one is enough, without a lock.
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
	for _, outcome := range []string{"recorded", "refused", "failed"} {
		r.messages.WithLabelValues(outcome) // so that the first failure is an increase
	}
	cfg.Metrics.MustRegister(r.messages)
	return r
}

// Trouble says why the last message failed and holds up the others. It is "" if it did not fail.
func (r *Reactor) Trouble() string { return r.trouble.Text() }

// Run records facts until ctx ends. Then it finishes the message that it is handling and returns nil.
func (r *Reactor) Run(ctx context.Context) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: handlingTime}, watermill.NewSlogLoggerWithLevelMapping(r.cfg.Log,
		map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})) // the router logs its own start and stop as info
	if err != nil {
		return fmt.Errorf("start to receive facts: %w", err)
	}
	router.AddConsumerHandler("inbound", subjects.Inbound, r.cfg.Subscriber, r.handle)
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("receive facts: %w", err)
	}
	return nil
}

// handle handles one message. After an error the message is delivered again.
//
// After a crash the message is delivered again, too: its name keeps it from being recorded twice, and
// its id from becoming two dead letters.
func (r *Reactor) handle(msg *message.Message) error {
	// The message's own context ends when Run is to end. A message that is being handled is
	// finished, because it would only be handled again.
	ctx, cancel := context.WithTimeout(context.Background(), handlingTime)
	defer cancel()
	outcome, err := r.recordOrRefuse(ctx, msg)
	r.messages.WithLabelValues(outcome).Inc()
	r.trouble.Set(err)
	return err
}

// recordOrRefuse records a message, or stores it as a dead letter.
func (r *Reactor) recordOrRefuse(ctx context.Context, msg *message.Message) (outcome string, err error) {
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
	if err := r.cfg.DeadLetters.StoreDeadLetter(ctx, sequence, refused.Reason); err != nil {
		return "failed", err
	}
	if leftOut, ok := r.refusals.Allow(refused.Reason); ok {
		r.cfg.Log.Warn("facts were refused and are among the dead letters", "from", m.From, "sequence", sequence,
			"reason", refused.Reason, "alike and left out", leftOut)
	}
	return "refused", nil
}

var errPanicked = errors.New("handling of facts panicked")

// record reads and records one message. A panic becomes an error. Neither the error nor the log has the
// panic's value, because it may quote the message. A message that causes maxPanics panics is refused,
// because all others wait behind it.
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
