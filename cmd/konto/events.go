package main

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// pageSize is how many events or rows are read at once.
const pageSize = 500

type eventsList struct {
	After   uint64 `name:"after" placeholder:"P" help:"Only events after this position."`
	Account string `name:"account" placeholder:"REF" help:"Only events of this account: any of its ids, or its email address."`
	Type    string `name:"type" placeholder:"T" help:"Only events of this type, such as EmailChanged."`
}

func (c *eventsList) Help() string {
	return `Examples:

    konto events list --after 1000
    konto events list --account anna@example.com --type EmailChanged --json`
}

func (c *eventsList) Run(ctx context.Context, h *house, out *output) error {
	wanted, err := c.filter(ctx, h)
	if err != nil {
		return err
	}
	return c.list(ctx, h, out, wanted)
}

// list prints what is in the log now, and moves After to what it has seen.
func (c *eventsList) list(ctx context.Context, h *house, out *output, wanted func(events.Event) bool) error {
	for {
		page, err := h.store.ReadAll(ctx, c.After, pageSize)
		for _, e := range page {
			c.After = e.Position
			if !wanted(e) {
				continue
			}
			if err := printEvent(out, e); err != nil {
				return err
			}
		}
		if err != nil || len(page) == 0 {
			return err
		}
	}
}

func (c *eventsList) filter(ctx context.Context, h *house) (func(events.Event) bool, error) {
	var stream events.Stream
	if c.Account != "" {
		id, err := h.account(ctx, c.Account)
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

type eventsTail struct{ eventsList }

func (c *eventsTail) Help() string {
	return `Examples:

    konto events tail
    konto events tail --after 1000 --type EmailChanged --json`
}

func (c *eventsTail) endless() {}

func (c *eventsTail) Run(ctx context.Context, h *house, out *output) error {
	wanted, err := c.filter(ctx, h)
	if err != nil {
		return err
	}
	for {
		err := c.list(ctx, h, out, wanted)
		if err == nil {
			err = out.flush()
		}
		if err == nil {
			err = h.store.Wait(ctx, c.After)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// history gives the events of one account up to a moment. An account that was
// never opened is an error, and so is a version that it never had.
func (h *house) history(ctx context.Context, ref string, until moment) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		id, err := h.account(ctx, ref)
		if err == nil {
			err = h.checkVersion(ctx, ref, id, until.Version)
		}
		for version := uint64(0); err == nil; {
			var page []events.Event
			page, err = h.store.ReadStream(ctx, events.AccountStream(id), version, pageSize)
			for _, e := range page {
				if version == 0 && until.before(e) {
					err = fmt.Errorf("account %s was opened later, at %s", ref, e.Time.Format(time.RFC3339))
					break
				}
				if until.before(e) || !yield(e, nil) {
					return
				}
				version = e.Version
			}
			if err == nil && version == 0 {
				err = fmt.Errorf("there is no account %s", ref)
			}
			if err == nil && len(page) < pageSize {
				return
			}
		}
		yield(events.Event{}, err)
	}
}

// checkVersion returns an error for a version that an account has not reached.
func (h *house) checkVersion(ctx context.Context, ref string, id ulid.ULID, version uint64) error {
	head, err := h.store.StreamHead(ctx, events.AccountStream(id))
	if err == nil && head.Version > 0 && version > head.Version {
		err = fmt.Errorf("account %s is at version %d, there is no version %d", ref, head.Version, version)
	}
	return err
}

// printEvent prints an event as one of the whole log.
func printEvent(out *output, e events.Event) error {
	data, err := readable(e)
	if err != nil {
		return err
	}
	return out.row(struct {
		Position uint64          `json:"position"`
		Time     time.Time       `json:"time"`
		Stream   events.Stream   `json:"stream"`
		Version  uint64          `json:"version"`
		ID       string          `json:"id"`
		Type     string          `json:"type"`
		Metadata events.Metadata `json:"metadata"`
		Data     jsontext.Value  `json:"data"`
	}{e.Position, e.Time, e.Stream, e.Version, e.ID.String(), e.Type, e.Metadata, data},
		"%6d  %s  %s/%d  %s  %s", e.Position, e.Time.Format(time.RFC3339), e.Stream, e.Version, e.Type, data)
}

// printHistory prints an event as one of its account.
func printHistory(out *output, e events.Event) error {
	data, err := readable(e)
	if err != nil {
		return err
	}
	m := e.Metadata
	return out.row(struct {
		Version  uint64    `json:"version"`
		Position uint64    `json:"position"`
		Time     time.Time `json:"time"`
		ID       string    `json:"id"`
		Type     string    `json:"type"`
		events.Metadata
		Data jsontext.Value `json:"data"`
	}{e.Version, e.Position, e.Time, e.ID.String(), e.Type, m, data},
		"%4d  %s  %s  %s  %s  %s", e.Version, e.Time.Format(time.RFC3339), e.Type,
		strings.TrimSpace(m.Actor.Kind+" "+m.Actor.ID), m.Contract, data)
}

// readable is an event's data without what an operator must not see either:
// the hash of a password or a code is a secret that can be guessed from it, and
// who has a third party's secrets can write to it in konto's name.
func readable(e events.Event) (jsontext.Value, error) {
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

// withoutSecret is the data of a third party's event without its member secret,
// and without what may be one in its URL.
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
