package deliveries

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"konto/events"
	"konto/projections/webhook"
)

// errNotDelivered tells the middleware that a request did not succeed. It goes no
// further than send.
var errNotDelivered = errors.New("not delivered")

// send makes one request to a third party and returns what came of it. The request
// runs inside Watermill's Recoverer and the given middleware, for which the event
// travels as a Watermill message (newMessage). The retry schedule decides what
// happens after a failure, so no middleware retries.
func (d *Deliveries) send(
	ctx context.Context, log *slog.Logger, party *events.ThirdParty, e *events.Event, around ...message.HandlerMiddleware,
) (answer webhook.Answer) {
	handle := middleware.Recoverer(func(m *message.Message) ([]*message.Message, error) {
		answer = d.cfg.Sender.Send(m.Context(), *party, *e)
		m.Metadata.Set("status", strconv.Itoa(answer.Status))
		m.Metadata.Set("problem", answer.Problem)
		if answer.Verdict != webhook.Delivered {
			return nil, errNotDelivered
		}
		return nil, nil
	})
	for _, wrap := range around {
		handle = wrap(handle)
	}
	_, err := handle(newMessage(ctx, e))
	var panicked middleware.RecoveredPanicError
	if errors.As(err, &panicked) {
		// konto failed, not the third party. The panic's value is not logged, because it
		// may quote the event.
		answer = webhook.Answer{Verdict: webhook.Unsent, Problem: "konto failed to make the request"}
		log.Error("delivery panicked", "event", e.ID, "position", e.Position,
			"kind", fmt.Sprintf("%T", panicked.V), "stack", panicked.Stacktrace)
	}
	return answer
}

// newMessage makes the Watermill message that carries an event: its payload is the
// event's, and its metadata is what middleware may log.
func newMessage(ctx context.Context, e *events.Event) *message.Message {
	m := message.NewMessageWithContext(ctx, e.ID.String(), e.Data)
	m.Metadata.Set("type", e.Type)
	m.Metadata.Set("position", strconv.FormatUint(e.Position, 10))
	m.Metadata.Set("request", e.Metadata.RequestID)
	if e.Metadata.Trace != "" {
		m.Metadata.Set("traceparent", e.Metadata.Trace)
	}
	return m
}

// logged is middleware that logs each request with the trace of the request that
// caused its event.
func logged(log *slog.Logger) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			began := time.Now()
			produced, err := next(m)
			attributes := []any{"event", m.UUID, "took", time.Since(began)}
			for name, value := range m.Metadata {
				attributes = append(attributes, name, value)
			}
			log.Debug("delivery attempted", attributes...)
			return produced, err
		}
	}
}
