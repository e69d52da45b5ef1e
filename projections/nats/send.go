package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
)

// messages translates the account events among a batch.
func messages(batch []events.Event) ([]events.Message, error) {
	msgs := make([]events.Message, 0, len(batch))
	for _, e := range batch {
		m, ok, err := events.Publish(e)
		if err != nil {
			return nil, fmt.Errorf("publish event %s at position %d: %w", e.Type, e.Position, err)
		}
		if ok {
			msgs = append(msgs, m)
		}
	}
	return msgs, nil
}

// envelope is a message on its way. One serves for all that are not acknowledged,
// because the client copies what it sends: 14 allocations an event less.
type envelope struct {
	natsgo.Msg
	values []string // of the headers, which are slices of it
}

// put puts a message into the envelope, that is to follow the one with a sequence.
func (e *envelope) put(m events.Message, after uint64) *natsgo.Msg {
	e.Subject, e.Data, e.values = m.Subject, m.Data, e.values[:0]
	if e.Header == nil {
		e.Header = natsgo.Header{}
	}
	clear(e.Header)
	for _, h := range m.Headers {
		e.set(h[0], h[1])
		if h[0] == "ce-id" {
			e.set(jetstream.MsgIDHeader, h[1])
		}
	}
	e.set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(after, 10))
	return &e.Msg
}

func (e *envelope) set(name, value string) {
	e.values = append(e.values, value)
	e.Header[name] = e.values[len(e.values)-1 : len(e.values) : len(e.values)]
}

// send publishes messages and returns when the server has them all. Each names the
// sequence it must follow, so when one is lost or late the server refuses all
// after it: the stream holds a prefix, never a hole, and the last one's
// acknowledgement stands for all. (One for each costs a quarter more.) The first
// is acknowledged too: it says why when the server takes nothing, where the last
// would only be out of sequence. Whatever was refused or left unanswered is
// settled by reading the stream's end again.
func (p *Publisher) send(ctx context.Context, msgs []events.Message) error {
	var reused envelope
	var first, last jetstream.PubAckFuture
	var failed error
	for i, m := range msgs {
		after := p.cursor.Sequence + uint64(i)
		switch i {
		case 0:
			first, failed = p.publishAcked(m, after)
		case len(msgs) - 1:
			last, failed = p.publishAcked(m, after)
		default:
			failed = p.publishMsg(reused.put(m, after))
		}
		if failed != nil {
			failed = unavailable("publish", failed)
			break
		}
	}
	// Both are awaited, so that nothing is under way when the stream's end is
	// read; only the first failure says why.
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

// errCutOff is matched when the first message of a batch was stored and the last was
// out of sequence: one between them was lost or refused, and nobody was told why. It
// is the first of the next batch, which is acknowledged.
var errCutOff = errors.New("a message amid the batch was not stored")

func outOfSequence(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) &&
		(refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// publishAcked publishes a message that is to be acknowledged, after the one with a
// sequence. It is not tried again: that would come after its successors.
func (p *Publisher) publishAcked(m events.Message, after uint64) (jetstream.PubAckFuture, error) {
	return p.js.PublishMsgAsync(new(envelope).put(m, after), jetstream.WithRetryAttempts(0))
}

// await waits for a message's acknowledgement, which must say that it is stored
// where it belongs. One server checks the expected sequence before the id, so
// its "duplicate" means that the id was stored earlier, and perhaps purged
// since; a cluster checks the id first, so there it may as well be the answer to
// a message that is in its place. There may be nothing to wait for.
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
