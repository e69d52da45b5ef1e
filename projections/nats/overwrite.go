package nats

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// overwrite removes a message and its bytes; one that is gone is no error. The embedded
// server, which encrypts its files, leaves the bytes there, encrypted, until nothing
// else is in the same file (of 2 MiB at most): then the file goes.
func overwrite(ctx context.Context, stream jetstream.Stream, sequence uint64) error {
	err := stream.SecureDeleteMsg(ctx, sequence)
	if !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return err
	}
	// The client keeps the server's reason to itself.
	if _, missing := stream.GetMsg(ctx, sequence); errors.Is(missing, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}
