package nats

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// Forget removes the dead letters, and the facts that wait, whose body or any header
// mentions something, and overwrites their bytes. It is for what an erased account was
// called by. After an error some may be left; it may be repeated.
func (i *Inbound) Forget(ctx context.Context, mentions func(text []byte) bool) error {
	// A letter that is sent again while the facts are looked through was among the
	// letters before, and a fact that becomes one meanwhile is among them after.
	for _, name := range []string{deadStream, factsStream, deadStream} {
		i.settled()
		if err := i.forget(ctx, name, mentions); err != nil {
			return err
		}
	}
	return nil
}

// settled waits for the message, if any, that is on its way from one stream to the other.
func (i *Inbound) settled() {
	i.moving.Lock()
	defer i.moving.Unlock()
}

func (i *Inbound) forget(ctx context.Context, name string, mentions func(text []byte) bool) error {
	stream, err := i.conn.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return unavailable("open inbound messages", err)
	}
	for at := uint64(1); ; at++ {
		m, err := stream.GetMsg(ctx, at, jetstream.WithGetMsgSubject(FactsSubject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return unavailable("read inbound messages", err)
		}
		if at = m.Sequence; !isAbout(m, mentions) {
			continue
		}
		if err := overwrite(ctx, stream, at); err != nil {
			return unavailable("remove an inbound message", err)
		}
	}
}

// isAbout tells whether anything that a sender wrote mentions something.
func isAbout(m *jetstream.RawStreamMsg, mentions func(text []byte) bool) bool {
	if mentions(m.Data) {
		return true
	}
	for _, values := range m.Header {
		for _, value := range values {
			if mentions([]byte(value)) {
				return true
			}
		}
	}
	return false
}
