package nats

import (
	"context"
	"fmt"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
)

// messages translates the account events among a batch.
func messages(batch []events.Event) ([]*natsgo.Msg, error) {
	msgs := make([]*natsgo.Msg, 0, len(batch))
	for _, e := range batch {
		m, ok, err := events.Publish(e)
		if err != nil {
			return nil, fmt.Errorf("publish event %s at position %d: %w", e.Type, e.Position, err)
		}
		if !ok {
			continue
		}
		msg := &natsgo.Msg{Subject: m.Subject, Data: m.Data, Header: make(natsgo.Header, len(m.Headers)+2)}
		for _, h := range m.Headers {
			msg.Header[h[0]] = []string{h[1]}
		}
		msg.Header[jetstream.MsgIDHeader] = []string{e.ID.String()}
		msgs = append(msgs, msg)
	}
	return msgs, nil
}

// send publishes messages without waiting for one another's acknowledgement.
// Each names the sequence it must follow, so when one is lost or late the
// server refuses all after it: the stream holds a prefix, never a hole, and
// whatever was refused or left unanswered is settled by reading its end again.
func (p *Publisher) send(ctx context.Context, msgs []*natsgo.Msg) error {
	acks := make([]jetstream.PubAckFuture, 0, len(msgs))
	var failed error
	for i, msg := range msgs {
		ack, err := p.js.PublishMsgAsync(msg,
			jetstream.WithExpectLastSequence(p.cursor.Sequence+uint64(i)),
			jetstream.WithRetryAttempts(0)) // a retry would come after its successors
		if err != nil {
			failed = unavailable("publish", err)
			break
		}
		acks = append(acks, ack)
	}
	for i, ack := range acks {
		// All are awaited, so that nothing is under way when the stream's end is
		// read; only the first failure says why.
		if err := await(ctx, ack, p.cursor.Sequence+uint64(i)+1); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// await waits for a message's acknowledgement, which must say that it is stored
// where it belongs. One server checks the expected sequence before the id, so
// its "duplicate" means that the id was stored earlier, and perhaps purged
// since; a cluster checks the id first, so there it may as well be the answer to
// a message that is in its place.
func await(ctx context.Context, ack jetstream.PubAckFuture, want uint64) error {
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
