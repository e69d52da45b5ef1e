package main

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
)

// eventsWanted has the flags that say which events are shown.
type eventsWanted struct {
	Account string `name:"account" placeholder:"REF" help:"Only events of this account: any of its ids, or its email address."`
	Type    string `name:"type" placeholder:"T" help:"Only events of this type, such as EmailChanged."`
}

type eventsList struct {
	After uint64 `name:"after" placeholder:"P" help:"Only events after this position."`
	eventsWanted
}

func (c *eventsList) Help() string {
	return `Examples:

    konto events list --after 1000
    konto events list --account anna@example.com --type EmailChanged --json`
}

func (c *eventsList) Run(ctx context.Context, on *opened, out *control.Output) error {
	wanted, err := c.filter(ctx, on)
	if err != nil {
		return err
	}
	_, err = listEvents(ctx, on, out, c.After, wanted)
	return err
}

// listEvents prints the events that the log has now after a position, and returns the position
// of the last one.
func listEvents(ctx context.Context, on *opened, out *control.Output, after uint64, wanted func(events.Event) bool) (uint64, error) {
	for e, err := range on.eventsAfter(ctx, after) {
		if err != nil {
			return after, err
		}
		after = e.Position
		if !wanted(e) {
			continue
		}
		if err := printEvent(out, e); err != nil {
			return after, err
		}
	}
	return after, nil
}

// eventsAfter iterates over the events of the log after a position, up to its present end. An
// error is the last thing that it yields.
func (on *opened) eventsAfter(ctx context.Context, after uint64) iter.Seq2[events.Event, error] {
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

func (c *eventsWanted) filter(ctx context.Context, on *opened) (func(events.Event) bool, error) {
	var stream events.Stream
	if c.Account != "" {
		id, err := on.FindAccount(ctx, c.Account)
		if err != nil {
			return nil, err
		}
		stream = events.AccountStream(id)
	}
	return func(e events.Event) bool {
		name, _, _ := strings.Cut(e.Type, ".")
		return (stream == "" || e.Stream == stream) && (c.Type == "" || e.Type == c.Type || name == c.Type)
	}, nil
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
	for {
		if err == nil {
			after, err = listEvents(ctx, on, out, after, wanted)
		}
		if err == nil {
			err = out.Flush()
		}
		if err == nil {
			err = on.Store.Wait(ctx, after)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// begin returns the position after which the tail begins.
func (c *eventsTail) begin(ctx context.Context, on *opened) (uint64, error) {
	if c.After != nil {
		return *c.After, nil
	}
	return on.Store.Head(ctx)
}

// printEvent prints an event as one of the whole log.
func printEvent(out *control.Output, e events.Event) error {
	data, err := readable(e)
	if err != nil {
		return err
	}
	return out.Row(struct {
		Position uint64          `json:"position"`
		Time     time.Time       `json:"time"`
		Stream   events.Stream   `json:"stream"`
		Version  uint64          `json:"version"`
		ID       string          `json:"id"`
		Type     string          `json:"type"`
		Metadata events.Metadata `json:"metadata"`
		Data     jsontext.Value  `json:"data"`
		Shredded bool            `json:"shredded,omitzero"`
	}{e.Position, e.Time, e.Stream, e.Version, e.ID.String(), e.Type, e.Metadata, data, e.Shredded},
		"%6d  %s  %s/%d  %s  %s", e.Position, e.Time.Format(time.RFC3339), e.Stream, e.Version, e.Type, data)
}

// readable returns an event's data without what not even an operator may see. The password or
// code can be guessed from its hash, and with a third party's secret anyone can send it webhooks
// in konto's name. For an event whose key was destroyed readable returns null.
func readable(e events.Event) (jsontext.Value, error) {
	if e.Shredded {
		return jsontext.Value("null"), nil
	}
	message, published, err := events.Publish(e)
	if err != nil {
		return nil, err
	}
	switch {
	case published:
		return message.Data, nil
	case e.Stream.Category() == events.CategoryThirdParty:
		return withoutSecret(e)
	}
	return e.Data, nil
}

// withoutSecret returns the data of a third party's event without its secret and without the
// query of its URL, which may hold one.
func withoutSecret(e events.Event) (jsontext.Value, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(e.Data, &members); err != nil {
		return nil, &events.DecodeError{Type: e.Type, Position: e.Position, Err: events.ErrMisfit}
	}
	delete(members, "secret")
	if value, ok := members["url"]; ok {
		var url string
		if err := json.Unmarshal(value, &url); err != nil {
			return nil, &events.DecodeError{Type: e.Type, Position: e.Position, Err: events.ErrMisfit}
		}
		hidden, err := json.Marshal(withoutQuery(url))
		if err != nil {
			return nil, err
		}
		members["url"] = hidden
	}
	return json.Marshal(members, json.Deterministic(true))
}
