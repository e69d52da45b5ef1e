package nats

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
)

// erasures are the subjects of the events that end accounts.
const (
	erasures     = events.SubjectPrefix + "*" + erasedSuffix
	erasedSuffix = ".AccountErased"
)

// forget removes what the stream holds of an account before the message that
// says that it was erased, which stays: consumers are to hear of it. The messages
// are overwritten one by one (see overwrite): their bytes are in the files under a key
// that is not the account's. It may be repeated.
func forget(ctx context.Context, stream jetstream.Stream, erased string) error {
	ofAccount := strings.TrimSuffix(erased, erasedSuffix) + ".>"
	end, err := stream.GetLastMsgForSubject(ctx, erased)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // it is older than the retention, and so are all before it
	}
	if err != nil {
		return unavailable("look for an erased account", err)
	}
	for at := uint64(1); ; {
		m, err := stream.GetMsg(ctx, at, jetstream.WithGetMsgSubject(ofAccount))
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Sequence >= end.Sequence {
			return nil
		}
		if err != nil {
			return unavailable("look for an erased account", err)
		}
		if err := overwrite(ctx, stream, m.Sequence); err != nil {
			return unavailable("remove what the stream holds of an erased account", err)
		}
		at = m.Sequence + 1
	}
}

// forgetPublished does it for the erasures among events that were just published.
func (p *Publisher) forgetPublished(ctx context.Context, part []events.Event) error {
	var stream jetstream.Stream
	for _, e := range part {
		if e.Type != events.TypeAccountErased {
			continue
		}
		if stream == nil {
			var err error
			if stream, err = p.openStream(ctx); err != nil {
				return err
			}
		}
		_, account, err := e.Stream.Split()
		if err != nil {
			return err
		}
		if err := forget(ctx, stream, events.SubjectPrefix+account.String()+erasedSuffix); err != nil {
			return err
		}
	}
	return nil
}

// forgetHeld does it for all erasures that the stream holds. konto may have been
// killed after it published one, and what is found in the stream is not published again.
func (p *Publisher) forgetHeld(ctx context.Context, stream jetstream.Stream) error {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(erasures))
	if err != nil {
		return unavailable("look for erased accounts", err)
	}
	for subject := range info.State.Subjects {
		if err := forget(ctx, stream, subject); err != nil {
			return err
		}
	}
	return nil
}
