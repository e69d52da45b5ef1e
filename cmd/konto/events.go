package main

import (
	"context"
	"strconv"
	"time"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
)

// eventsWanted has the flags that say which events are shown.
type eventsWanted struct {
	Account string `name:"account" placeholder:"REF" help:"Only events of this account: any of its ids, or its email address."`
	Type    string `name:"type" placeholder:"T" help:"Only events of this type, such as EmailChanged."`
}

func (c *eventsWanted) filter(ctx context.Context, on *opened) (f admin.EventFilter, err error) {
	f.Type = c.Type
	if c.Account != "" {
		f.Account, err = on.FindAccount(ctx, c.Account)
	}
	return f, err
}

type eventsList struct {
	After uint64 `name:"after" placeholder:"P" help:"Only events after this position."`
	listLimit
	eventsWanted
}

func (c *eventsList) Help() string {
	return `Examples:

    konto events list --after 1000 --limit 100
    konto events list --account anna@example.com --type EmailChanged --json`
}

func (c *eventsList) Run(ctx context.Context, on *opened, out *control.Output) error {
	wanted, err := c.filter(ctx, on)
	if err != nil {
		return err
	}
	out.Header(eventRow, "POS", "TIME", "STREAM/VERSION", "TYPE", "DATA")
	return printPages(strconv.FormatUint(c.After, 10), c.Limit, func(after string, limit int) (admin.Page[admin.Event], error) {
		position, err := strconv.ParseUint(after, 10, 64)
		if err != nil {
			return admin.Page[admin.Event]{}, err
		}
		return on.ListEvents(ctx, wanted, position, limit)
	}, func(e admin.Event) error { return printEvent(out, e) })
}

type eventsTail struct {
	// nil: past events are not shown, because a log has millions of them.
	After *uint64 `name:"after" placeholder:"P" help:"Begin with the events after this position, 0 for all; with the events from now on unless given."`
	eventsWanted
}

func (c *eventsTail) Help() string {
	return `Shows events from now on. With --after it first shows the events after a position, as events list
does. No event in between is left out.

Examples:

    konto events tail
    konto events tail --after 0
    konto events tail --after 1000 --type EmailChanged --json`
}

func (c *eventsTail) endless() {}

func (c *eventsTail) Run(ctx context.Context, on *opened, out *control.Output) error {
	wanted, err := c.filter(ctx, on)
	if err != nil {
		return err
	}
	after, err := c.begin(ctx, on)
	if err != nil {
		return err
	}
	return on.FollowEvents(ctx, wanted, after,
		func(e admin.Event) error { return printEvent(out, e) }, func(uint64) error { return out.Flush() })
}

// begin returns the position after which the tail begins.
func (c *eventsTail) begin(ctx context.Context, on *opened) (uint64, error) {
	if c.After != nil {
		return *c.After, nil
	}
	return on.Store.Head(ctx)
}

const eventRow = "%6s  %-20s  %s  %s  %s"

// printEvent prints an event as one of the whole log.
func printEvent(out *control.Output, e admin.Event) error {
	return out.Row(e, "%6d  %s  %s/%d  %s  %s", e.Position, e.Time.Format(time.RFC3339), e.Stream, e.Version, e.Type, e.Data)
}
