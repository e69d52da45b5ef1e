package main

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/commands"
	"konto/events"
)

type accountHistory struct {
	Ref string `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	At  moment `name:"at" placeholder:"VERSION|TIME" help:"Up to a version or a time." json:",omitzero"`
}

func (c *accountHistory) Help() string {
	return `Shows who did what, through which contract, and what it changed: each field with its old and its new value, – for none.
With --json, each event has its changes beside its data.

Examples:

    konto account history anna@example.com
    konto account history anna@example.com --at 2026-01-31 --json`
}

func (c *accountHistory) Run(ctx context.Context, on *opened, out *control.Output) error {
	var a events.Account
	for e, err := range on.history(ctx, c.Ref, c.At) {
		if err != nil {
			return err
		}
		p, err := e.Payload()
		if err != nil {
			return err
		}
		before := a
		a.Apply(e, p)
		changes, err := changesBetween(&before, &a)
		if err != nil {
			return err
		}
		if err := printHistory(out, e, p, changes); err != nil {
			return err
		}
	}
	return nil
}

// history yields the events of one account up to a moment. If the account was never opened, or
// never had the version, it yields an error.
func (on *opened) history(ctx context.Context, ref string, until moment) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		id, err := on.FindAccount(ctx, ref)
		if err == nil {
			err = on.checkVersion(ctx, ref, id, until.Version)
		}
		if err != nil {
			yield(events.Event{}, err)
			return
		}
		first := true
		for e, err := range on.Store.Events(ctx, events.AccountStream(id), 0, math.MaxUint64) {
			if err == nil && first && until.before(e) {
				err = fmt.Errorf("account %s was opened later, at %s", ref, e.Time.Format(time.RFC3339))
			}
			if err != nil {
				yield(events.Event{}, err)
				return
			}
			if until.before(e) || !yield(e, nil) {
				return
			}
			first = false
		}
		if first {
			yield(events.Event{}, on.NotFound(commands.ErrNotFound, ref))
		}
	}
}

// checkVersion returns an error for a version that an account has not reached.
func (on *opened) checkVersion(ctx context.Context, ref string, id ulid.ULID, version uint64) error {
	head, err := on.Store.StreamHead(ctx, events.AccountStream(id))
	if err == nil && head.Version > 0 && version > head.Version {
		err = fmt.Errorf("account %s is at version %d, there is no version %d", ref, head.Version, version)
	}
	return err
}

// printHistory prints an event as one of its account.
func printHistory(out *control.Output, e events.Event, p events.Payload, changes []change) error {
	data, err := readable(e)
	if err != nil {
		return err
	}
	if out.JSON {
		return out.Object(struct {
			Version  uint64    `json:"version"`
			Position uint64    `json:"position"`
			Time     time.Time `json:"time"`
			ID       string    `json:"id"`
			Type     string    `json:"type"`
			events.Metadata
			Data     jsontext.Value `json:"data"`
			Changes  []change       `json:"changes"`
			Shredded bool           `json:"shredded,omitzero"`
		}{e.Version, e.Position, e.Time, e.ID.String(), e.Type, e.Metadata, data, changes, e.Shredded})
	}
	if err := out.Line("%4d  %s  %s  %s", e.Version, e.Time.Format(time.RFC3339), eventName(e, p), by(e)); err != nil {
		return err
	}
	for _, c := range changes {
		if err := out.Line("      %s: %s → %s", c.Field, plain(c.From), plain(c.To)); err != nil {
			return err
		}
	}
	return nil
}

// eventName returns an event's type for a person.
func eventName(e events.Event, p events.Payload) string {
	if p, ok := p.(events.EmailChanged); ok {
		return e.Type + " (" + p.How + ")"
	}
	return e.Type
}

// by says who caused an event, for whom and through what.
func by(e events.Event) string {
	if e.Shredded {
		return "its key was destroyed: nobody can read what it said"
	}
	m := e.Metadata
	words := []string{"by", strings.TrimSpace(m.Actor.Kind + " " + m.Actor.ID)}
	if m.Impersonator != "" {
		words = append(words, "impersonated by", m.Impersonator)
	}
	if m.Grant != "" {
		words = append(words, "with grant", m.Grant)
	}
	if m.Contract != "" {
		words = append(words, "through", m.Contract)
	}
	return strings.Join(words, " ")
}
