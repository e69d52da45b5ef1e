package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections/inbound"
	"konto/projections/nats"
)

// takeIn makes the reactor that records the facts of other systems.
func (s *server) takeIn() *component {
	from := s.facts.Subscriber()
	return &component{name: "inbound", from: from, reactor: inbound.New(inbound.Config{
		Subscriber:  from,
		Recorder:    recorder{s.house},
		DeadLetters: s.facts,
		Metrics:     s.metrics.Registerer(),
		Log:         s.log,
	})}
}

// lettersRetry is how long a server waits before it looks for NATS again.
const lettersRetry = 10 * time.Second

// forgetLetters does what erasures left to do while NATS was away or no server ran,
// as soon as it can be done.
func (s *server) forgetLetters(ctx context.Context) {
	for told := false; ; told = true {
		err := s.house.finishLetters(ctx, s.facts)
		if err == nil || ctx.Err() != nil {
			return
		}
		if !told {
			s.log.Warn("what others sent of erased accounts is still there; konto goes on trying", "error", err)
		}
		select {
		case <-time.After(lettersRetry):
		case <-ctx.Done():
			return
		}
	}
}

// recorder records inbound facts in a house's log.
type recorder struct{ house *house }

// RecordFacts implements inbound.Recorder.
func (r recorder) RecordFacts(ctx context.Context, m inbound.Message) error {
	id, err := r.house.lookUp(ctx, m.Account)
	if err != nil {
		return refuseFacts(err)
	}
	request, err := newID()
	if err != nil {
		return err
	}
	meta := events.Metadata{
		RequestID:  "req_" + strings.ToLower(request.String()),
		Actor:      events.Actor{Kind: "inbound", ID: m.From},
		Contract:   "inbound",
		Trace:      m.Trace,
		TraceState: m.TraceState,
	}
	once := commands.Once{Name: m.Name, Fingerprint: m.Fingerprint, At: time.Now()}
	_, err = r.house.accounts.DoOnce(ctx, id, meta, once, commands.RecordFacts{Facts: m.Facts})
	return refuseFacts(err)
}

// refuseFacts tells what another try would not change from what it may. The
// reasons are for whoever reads dead letters, and hold nothing personal.
func refuseFacts(err error) error {
	var invalid *commands.Invalid
	var undecodable *events.DecodeError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoReference):
		return &inbound.Refused{Reason: "the account is neither named by an id nor by an email address"}
	case errors.Is(err, commands.ErrNotFound), errors.Is(err, eventstore.ErrNoKey):
		return &inbound.Refused{Reason: "there is no such account"}
	case errors.Is(err, commands.ErrReused):
		return &inbound.Refused{Reason: "its id is that of another message"}
	case errors.As(err, &invalid) && len(invalid.Fields) > 0:
		return &inbound.Refused{Reason: invalid.Fields[0].Field + ": " + invalid.Fields[0].Detail}
	case errors.Is(err, eventstore.ErrSealBroken), errors.As(err, &undecodable):
		// Waiting would mend nothing, and hold up the facts of all other accounts.
		return &inbound.Refused{Reason: "the account cannot be read from the log"}
	}
	return err
}

// errNotServed tells that a command needs the server that it did not find.
var errNotServed = errors.New("inbound messages are with the server, and it does not run")

type inboundDeadLetters struct {
	Limit int `name:"limit" default:"100" placeholder:"N" help:"The newest so many, 100 unless given."`
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
	Bytes     []byte    `json:"bytes,omitzero"` // the body in base64, when it is no text
	Length    int       `json:"length"`         // of the body as it was sent; of a long one the beginning is kept
}

func (c *inboundDeadLetters) Run(ctx context.Context, h *opened, out *output) error {
	if h.server == nil {
		return errNotServed
	}
	letters, err := h.server.facts.DeadLetters(ctx, c.Limit)
	if err != nil {
		return err
	}
	for _, l := range letters {
		shown := deadLetterShown{Sequence: l.Sequence, Time: l.Received, From: l.From, Reason: l.Reason, MessageID: l.ID, Length: l.Length}
		if utf8.Valid(l.Body) {
			shown.Body = string(l.Body)
		} else {
			shown.Bytes = l.Body
		}
		if err := out.row(shown, "%6d  %s  %-16s  %s  %q", l.Sequence, l.Received.Format(time.RFC3339), l.From, l.Reason, l.Body); err != nil {
			return err
		}
	}
	return nil
}

type inboundRetry struct {
	Sequence uint64 `arg:"" name:"sequence" help:"The dead letter's sequence."`
}

func (c *inboundRetry) Help() string {
	return `It is taken up behind the messages that wait now, so it may be older than what is recorded by then.

Example:

    konto inbound retry 17`
}

func (c *inboundRetry) Run(ctx context.Context, h *opened, out *output) error {
	if h.server == nil {
		return errNotServed
	}
	err := h.server.facts.Retry(ctx, c.Sequence)
	if errors.Is(err, nats.ErrNoDeadLetter) {
		return fmt.Errorf("there is no dead letter %d", c.Sequence)
	}
	if err != nil {
		return err
	}
	return out.object(struct {
		Sequence uint64 `json:"sequence"`
		Retried  bool   `json:"retried"`
	}{c.Sequence, true})
}
