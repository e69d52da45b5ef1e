package nats

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
	"konto/projections/nats/subjects"
)

// The subjects of AccountErased, the last event of an account.
const (
	erasedSuffix   = ".AccountErased"
	erasedSubjects = events.SubjectPrefix + "*" + erasedSuffix
)

// overwriteErasedBy overwrites the accounts whose erasure is among events that were just published.
func (p *Publisher) overwriteErasedBy(ctx context.Context, part []events.Event) error {
	for _, e := range part {
		if e.Type != events.TypeAccountErased {
			continue
		}
		_, account, err := e.Stream.Split()
		if err != nil {
			return err
		}
		stream, err := p.conn.js.Stream(ctx, subjects.Stream)
		if err != nil {
			return unavailable("open the stream", err)
		}
		if err := p.overwriteAccount(ctx, stream, events.SubjectPrefix+account.String()+erasedSuffix); err != nil {
			return err
		}
	}
	return nil
}

// overwriteErasedAccounts overwrites the accounts whose erasure the stream holds.
func (p *Publisher) overwriteErasedAccounts(ctx context.Context, stream jetstream.Stream) error {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(erasedSubjects))
	if err != nil {
		return unavailable("look for erased accounts", err)
	}
	for subject := range info.State.Subjects {
		if err := p.overwriteAccount(ctx, stream, subject); err != nil {
			return err
		}
	}
	return nil
}

// overwriteAccount overwrites all messages of an account before its AccountErased, which has the
// subject erased and stays, because consumers must receive it. The messages are overwritten one by
// one: their bytes are in the files under a key that is not the account's. It may be repeated.
func (p *Publisher) overwriteAccount(ctx context.Context, stream jetstream.Stream, erased string) error {
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
		if err := p.held(ctx); err != nil {
			return err
		}
		if err := overwrite(ctx, stream, m.Sequence); err != nil {
			return unavailable("remove what the stream holds of an erased account", err)
		}
		at = m.Sequence + 1
	}
}

// overwrite deletes a message and overwrites its bytes. It is no error if the message is gone. The
// embedded server, which encrypts its files, leaves the bytes there, encrypted, until it deletes the
// file (of 2 MiB at most), which it does when no other message is left in it.
func overwrite(ctx context.Context, stream jetstream.Stream, sequence uint64) error {
	err := stream.SecureDeleteMsg(ctx, sequence)
	if !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return err
	}
	// The client does not pass the server's reason on.
	if _, missing := stream.GetMsg(ctx, sequence); errors.Is(missing, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}
