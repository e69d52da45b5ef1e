package main

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/projections/nats"
)

// errNotServed is the error if no server runs.
var errNotServed = errors.New("inbound messages are read through the server, and no server runs in this data folder; start konto serve, or give the --data of a node on its machine")

type inboundDeadLetters struct {
	Limit int `name:"limit" default:"100" placeholder:"N" help:"How many, from the newest."`
}

func (c *inboundDeadLetters) Help() string {
	return `Messages on konto.inbound.facts that could not be recorded, and why. They are kept for 7 days.

Examples:

    konto inbound dead-letters
    konto inbound dead-letters --limit 1000 --json`
}

// Validate is called by kong.
func (c *inboundDeadLetters) Validate() error {
	if c.Limit < 1 {
		return errors.New("--limit is at least 1")
	}
	return nil
}

// deadLetterShown is a dead letter for the operator.
type deadLetterShown struct {
	Sequence  uint64    `json:"sequence"`
	Time      time.Time `json:"time"` // when the message came in
	From      string    `json:"from"`
	Reason    string    `json:"reason"`
	MessageID string    `json:"messageId,omitzero"`
	Body      string    `json:"body,omitzero"`
	Bytes     []byte    `json:"bytes,omitzero"` // the body in base64, if it is not UTF-8
	Length    int       `json:"length"`         // of the body as it was sent; only the beginning of a long one is kept
}

func (c *inboundDeadLetters) Run(ctx context.Context, on *opened, out *control.Output) error {
	if on.Server == nil {
		return errNotServed
	}
	found, err := on.Server.Facts.DeadLetters(ctx, c.Limit)
	if err != nil {
		return err
	}
	out.Header("%6s  %-20s  %-16s  %s", "SEQ", "TIME", "FROM", "REASON AND BODY")
	for _, l := range found {
		shown := deadLetterShown{Sequence: l.Sequence, Time: l.Received, From: l.From, Reason: l.Reason, MessageID: l.ID, Length: l.Length}
		if utf8.Valid(l.Body) {
			shown.Body = string(l.Body)
		} else {
			shown.Bytes = l.Body
		}
		if err := out.Row(shown, "%6d  %s  %-16s  %s  %q", l.Sequence, l.Received.Format(time.RFC3339), l.From, l.Reason, l.Body); err != nil {
			return err
		}
	}
	return nil
}

type inboundRetry struct {
	Sequence uint64 `arg:"" name:"sequence" help:"The dead letter's sequence."`
}

func (c *inboundRetry) Help() string {
	return `It is handled after the messages that wait now, so it may overwrite newer facts with older ones.

Example:

    konto inbound retry 17`
}

func (c *inboundRetry) Run(ctx context.Context, on *opened, out *control.Output) error {
	if on.Server == nil {
		return errNotServed
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	err = on.Server.Facts.Retry(ctx, c.Sequence)
	if errors.Is(err, nats.ErrNoDeadLetter) {
		return fmt.Errorf("there is no dead letter %d", c.Sequence)
	}
	if err != nil {
		return err
	}
	on.Acted(meta, "inbound retry", "sequence", c.Sequence)
	return out.Object(struct {
		Sequence uint64 `json:"sequence"`
		Retried  bool   `json:"retried"`
	}{c.Sequence, true})
}
