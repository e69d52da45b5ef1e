package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"golang.org/x/time/rate"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
	"konto/projections/nats"
)

// errNoNATS is the error if no server runs.
var errNoNATS = errors.New("events are published through the server's connection to NATS, and no server runs in this data folder; start konto serve, or give the --data of a node on its machine")

type replayPublish struct {
	From          uint64     `name:"from" required:"" placeholder:"P" help:"Position of the first event."`
	To            uint64     `name:"to" placeholder:"P" help:"Position of the last event; the log's present end unless given."`
	Type          string     `name:"type" placeholder:"T" help:"Only events of this type, such as EmailChanged."`
	Account       string     `name:"account" placeholder:"REF" help:"Only events of this account: any of its ids, or its email address."`
	SubjectPrefix string     `name:"subject-prefix" placeholder:"S" help:"Subjects are S.<ULID>.<Type>; konto.replay.account unless given."`
	Rate          replayRate `name:"rate" placeholder:"N/s" help:"At most so many events a second; no limit unless given." json:",omitzero"`
}

func (c *replayPublish) Help() string {
	return `Publishes account events of the log again, as they were published first but with the header
konto-replay: true, on konto.replay.account.<ULID>.<Type>. Every consumer's key may subscribe to
konto.replay.>, so each replay can have a prefix of its own there. Subjects under konto.account. are
refused, because their consumers already have the events.

Consumers must subscribe before: konto does not store replays. NATS disconnects a consumer that is
too slow, so give --rate. If a stream of an outside NATS server stores the subjects, each event is
acknowledged. Events of erased accounts are left out and counted. After an interruption, give --from
the position that the error names. An event that is published twice has the same ce-id.

Examples:

    konto replay publish --from 1
    konto replay publish --from 1 --type EmailChanged --rate 500/s --subject-prefix konto.replay.crm
    konto replay publish --from 1000 --to 2000 --account anna@example.com --json`
}

// Validate is called by kong.
func (c *replayPublish) Validate() error {
	if c.From == 0 {
		return errors.New("positions count from 1")
	}
	if c.To != 0 && c.To < c.From {
		return errors.New("--to is before --from")
	}
	return nil
}

// replayRate is a number of events a second; 0 is no limit.
type replayRate uint32

// UnmarshalText reads N/s.
func (r *replayRate) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(string(text), "/s")
	n, err := strconv.ParseUint(number, 10, 32)
	if !ok || err != nil || n == 0 {
		return fmt.Errorf("%q is no rate such as 500/s", text)
	}
	*r = replayRate(n)
	return nil
}

// MarshalText is the reverse of UnmarshalText, for the control socket.
func (r replayRate) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d/s", r), nil }

// limiter returns a limiter with a burst of a hundredth of a second's events.
func (r replayRate) limiter() *rate.Limiter {
	if r == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(r), max(1, int(r/100)))
}

func (c *replayPublish) Run(ctx context.Context, on *opened, out *control.Output) error {
	if on.Server == nil {
		return errNoNATS
	}
	head, err := on.Store.Head(ctx)
	if err != nil {
		return err
	}
	if c.To == 0 {
		c.To = head
	}
	if c.From > head || c.To > head {
		return fmt.Errorf("the log's last position is %d", head)
	}
	r := replaying{replayPublish: *c, out: out, limit: c.Rate.limiter(), events: eventsAfter(ctx, on, c.From-1)}
	name, _, _ := strings.Cut(c.Type, ".")
	cfg := nats.ReplayConfig{Conn: on.Server.Conn, Prefix: c.SubjectPrefix, Type: name}
	if c.Account != "" {
		id, err := on.FindAccount(ctx, c.Account)
		if err != nil {
			return err
		}
		cfg.Account, r.events = id.String(), on.Store.Events(ctx, events.AccountStream(id), 0, math.MaxUint64)
	}
	if r.to, err = nats.NewReplay(ctx, cfg); err != nil {
		return err
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	on.Acted(meta, "replay publish", "from", c.From, "to", c.To)
	next, err := r.all(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%d events were published; continue with --from %d: %w", r.published, next, err)
	}
	return out.Object(struct {
		From      uint64 `json:"from"`
		To        uint64 `json:"to"`
		Published uint64 `json:"published"`
		Shredded  uint64 `json:"shredded"`
		Stream    string `json:"stream,omitzero"`
	}{c.From, c.To, r.published, r.shredded, r.to.Stream()})
}

// eventsAfter iterates over the events of the log after a position, up to its present end. An
// error is the last thing that it yields.
func eventsAfter(ctx context.Context, on *opened, after uint64) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		for {
			page, err := on.Store.ReadAll(ctx, after, datafolder.PageSize)
			for _, e := range page {
				if after = e.Position; !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(events.Event{}, err)
			}
			if err != nil || len(page) == 0 {
				return
			}
		}
	}
}

// replaying is the state of a running replay.
type replaying struct {
	replayPublish
	events iter.Seq2[events.Event, error] // of the log, or of one account
	out    *control.Output
	to     *nats.Replay
	limit  *rate.Limiter

	published, shredded uint64 // before the last flush
	sent                uint64 // since then
}

// all publishes the events. next is the position from which to continue after an error.
func (r *replaying) all(ctx context.Context) (next uint64, err error) {
	next = r.From
	for e, err := range r.events {
		if err != nil {
			return next, err
		}
		if e.Position > r.To {
			break
		}
		if e.Position < r.From {
			continue
		}
		if err := r.send(ctx, e); err != nil {
			return next, err
		}
		r.out.Progress(e.Position-r.From, r.To-r.From+1, "positions")
		if e.Position-next >= datafolder.PageSize {
			if err := r.flush(ctx); err != nil {
				return next, err
			}
			next = e.Position + 1
		}
	}
	if err := r.flush(ctx); err != nil {
		return next, err
	}
	r.out.Progress(r.To-r.From+1, r.To-r.From+1, "positions")
	return next, nil
}

// send sends an event if it is wanted.
func (r *replaying) send(ctx context.Context, e events.Event) error {
	name, _, _ := strings.Cut(e.Type, ".")
	switch {
	case e.Stream.Category() != events.CategoryAccount || r.Type != "" && r.Type != e.Type && r.Type != name:
		return nil
	case e.Shredded:
		r.shredded++
		return nil
	}
	if err := r.limit.Wait(ctx); err != nil {
		return err
	}
	if _, err := r.to.Publish(e); err != nil {
		return err
	}
	r.sent++
	return nil
}

// flush returns when what was sent is published.
func (r *replaying) flush(ctx context.Context) error {
	if err := r.to.Flush(ctx); err != nil {
		return err
	}
	r.published, r.sent = r.published+r.sent, 0
	return nil
}
