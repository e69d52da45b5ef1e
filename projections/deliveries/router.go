package deliveries

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"konto/events"
	"konto/projections/webhook"
)

// attempt travels through the router in a message's context.
type attempt struct {
	party  events.ThirdParty
	event  events.Event
	answer webhook.Answer
}

type attemptKey struct{}

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

func attemptOf(m *message.Message) *attempt { return m.Context().Value(attemptKey{}).(*attempt) }

// errUndelivered lets middleware tell attempts that failed. It goes no further
// than contain.
var errUndelivered = errors.New("not delivered")

// topic is what the router calls what it handles.
const topic = "events of accounts"

// route runs a router of its own for one third party until ctx ends. With one
// for all, the router would close itself when its last handler ended, and a
// handler that ends cannot be told from one that failed.
func (d *Deliveries) route(ctx context.Context, name string, l *lanes) error {
	// The router's own comings and goings are of no interest.
	quiet := watermill.NewSlogLoggerWithLevelMapping(l.log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 2 * endTime}, quiet)
	if err != nil {
		return fmt.Errorf("start router: %w", err)
	}
	if err := d.metrics.decorate(router); err != nil {
		return err
	}
	router.AddMiddleware(contain(l.log), d.metrics.middleware(), trace(l.log), middleware.Recoverer)
	router.AddConsumerHandler(name, topic, l, d.send)
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("run router: %w", err)
	}
	return nil
}

// send is the handler: one request.
func (d *Deliveries) send(m *message.Message) error {
	a := attemptOf(m)
	a.answer = d.cfg.Sender.Send(m.Context(), a.party, a.event)
	if a.answer.Verdict != webhook.Delivered {
		return errUndelivered
	}
	return nil
}

// contain ends every error here: what came of an attempt is judged by the
// schedule. A panic, such as over an event that cannot be formatted, is konto's
// own failure. Its value is not logged, it may quote the event.
func contain(log *slog.Logger) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			_, err := next(m)
			var panicked middleware.RecoveredPanicError
			if errors.As(err, &panicked) {
				a := attemptOf(m)
				a.answer = webhook.Answer{Verdict: webhook.Unsent, Problem: "konto failed to make the request"}
				log.Error("delivery panicked", "event", a.event.ID, "position", a.event.Position,
					"kind", fmt.Sprintf("%T", panicked.V), "stack", panicked.Stacktrace)
			}
			return nil, nil
		}
	}
}

// trace logs each attempt with the trace of the request that caused its event.
func trace(log *slog.Logger) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			a, began := attemptOf(m), time.Now()
			log := log.With("event", a.event.ID, "type", a.event.Type, "position", a.event.Position, "request", a.event.Metadata.RequestID)
			if a.event.Metadata.Trace != "" {
				log = log.With("traceparent", a.event.Metadata.Trace)
			}
			produced, err := next(m)
			log.Debug("delivery attempted", "status", a.answer.Status, "problem", a.answer.Problem, "took", time.Since(began))
			return produced, err
		}
	}
}
