package main

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
	"konto/events"
)

type accountShow struct {
	Ref string       `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	At  admin.Moment `name:"at" placeholder:"VERSION|TIME" help:"The account as it was at a version or a time." json:",omitzero"`
}

func (c *accountShow) Help() string {
	return `Examples:

    konto account show anna@example.com
    konto account show 50f3ac249f6aef294d000007 --at 3 --json
    konto account show client_01hxa3b4c5d6e7f8g9h0j1k2m3 --at 2026-01-31T12:00:00Z`
}

func (c *accountShow) Run(ctx context.Context, on *opened, out *control.Output) error {
	id, err := on.FindAccount(ctx, c.Ref)
	if err != nil {
		return err
	}
	account, err := on.Account(ctx, id, c.At)
	if err != nil {
		return on.NotFound(err, c.Ref)
	}
	return out.Object(account)
}

type accountHistory struct {
	Ref string       `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	At  admin.Moment `name:"at" placeholder:"VERSION|TIME" help:"Only up to a version or a time." json:",omitzero"`
}

func (c *accountHistory) Help() string {
	return `Shows who did what, through which contract, and what it changed: each field with its old and its new
value, or – if it has none. With --json, each event also has its changes.

Examples:

    konto account history anna@example.com
    konto account history anna@example.com --at 2026-01-31 --json`
}

func (c *accountHistory) Run(ctx context.Context, on *opened, out *control.Output) error {
	id, err := on.FindAccount(ctx, c.Ref)
	if err != nil {
		return err
	}
	for e, err := range on.History(ctx, id, c.At, 0) {
		if err != nil {
			return on.NotFound(err, c.Ref)
		}
		if err := printHistory(out, e); err != nil {
			return err
		}
	}
	return nil
}

// printHistory prints an event as one of its account.
func printHistory(out *control.Output, e admin.Entry) error {
	if err := out.Row(e, "%4d  %s  %s  %s", e.Version, e.Time.Format(time.RFC3339), eventName(e), by(e)); err != nil || out.JSON {
		return err
	}
	for _, c := range e.Changes {
		if err := out.Line("      %s: %s → %s", c.Field, plain(c.From), plain(c.To)); err != nil {
			return err
		}
	}
	return nil
}

// eventName returns an event's type for a person.
func eventName(e admin.Entry) string {
	if p, ok := e.Payload.(events.EmailChanged); ok {
		return e.Type + " (" + p.How + ")"
	}
	return e.Type
}

// by says who caused an event, for whom, and through which contract.
func by(e admin.Entry) string {
	if e.Shredded {
		return "its key was destroyed: nobody can read it"
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

// plain returns a value for people. It quotes text with control characters, which an earlier
// rule may have allowed.
func plain(value jsontext.Value) string {
	if value.Kind() == 'n' {
		return "–"
	}
	var text string
	if value.Kind() != '"' || json.Unmarshal(value, &text) != nil {
		return string(value)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
