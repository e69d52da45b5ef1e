package nats

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// ForgetLetters removes the dead letters whose body mentions something, and
// overwrites their bytes. It is for what an account that is about to be forgotten
// is called by: afterwards nobody knows whose the letters were, and they stay until
// they are too old.
func (i *Inbound) ForgetLetters(ctx context.Context, mentions func(body []byte) bool) error {
	stream, err := i.conn.js.Stream(ctx, deadStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return unavailable("open the dead letters", err)
	}
	for at := uint64(1); ; at++ {
		m, err := stream.GetMsg(ctx, at, jetstream.WithGetMsgSubject(deadSubject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return unavailable("read a dead letter", err)
		}
		if at = m.Sequence; !mentions(m.Data) {
			continue
		}
		if err := stream.SecureDeleteMsg(ctx, at); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return unavailable("remove a dead letter", err)
		}
	}
}
