package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/cmd/konto/control"
	"konto/commands"
	"konto/events"
)

// moment is a point in an account's history: a version, or a time. The zero
// moment is now.
type moment struct {
	Version uint64
	Time    time.Time
}

// UnmarshalText reads a version, an RFC 3339 time, or a date, which means its first instant in
// UTC.
func (m *moment) UnmarshalText(text []byte) (err error) {
	if m.Version, err = strconv.ParseUint(string(text), 10, 64); err == nil {
		if m.Version == 0 {
			return errors.New("versions count from 1")
		}
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if m.Time, err = time.Parse(layout, string(text)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%q is neither a version nor a time such as 2026-01-31T12:00:00Z", text)
}

// MarshalText is the reverse of UnmarshalText, for the control socket. The zero moment is not
// sent.
func (m moment) MarshalText() ([]byte, error) {
	if m.Time.IsZero() {
		return strconv.AppendUint(nil, m.Version, 10), nil
	}
	return m.Time.AppendFormat(nil, time.RFC3339Nano), nil
}

// before reports whether the moment had passed when e happened.
func (m moment) before(e events.Event) bool {
	return m.Version > 0 && e.Version > m.Version || !m.Time.IsZero() && e.Time.After(m.Time)
}

type accountShow struct {
	Ref string `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	At  moment `name:"at" placeholder:"VERSION|TIME" help:"The account as it was at a version or a time." json:",omitzero"`
}

func (c *accountShow) Help() string {
	return `Examples:

    konto account show anna@example.com
    konto account show 50f3ac249f6aef294d000007 --at 3 --json
    konto account show client_01hxa3b4c5d6e7f8g9h0j1k2m3 --at 2026-01-31T12:00:00Z`
}

func (c *accountShow) Run(ctx context.Context, on *opened, out *control.Output) error {
	if c.At == (moment{}) {
		a, err := on.LoadAccount(ctx, c.Ref)
		if err != nil {
			return err
		}
		return out.Object(show(a))
	}
	var a events.Account
	err := on.history(ctx, c.Ref, c.At, func(e events.Event, p events.Payload) error {
		a.Apply(e, p)
		return nil
	})
	if err != nil {
		return err
	}
	return out.Object(show(a))
}

type accountHistory struct {
	Ref string `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	At  moment `name:"at" placeholder:"VERSION|TIME" help:"Only up to a version or a time." json:",omitzero"`
}

func (c *accountHistory) Help() string {
	return `Shows who did what, through which contract, and what it changed: each field with its old and its new
value, or – if it has none. With --json, each event also has its changes.

Examples:

    konto account history anna@example.com
    konto account history anna@example.com --at 2026-01-31 --json`
}

func (c *accountHistory) Run(ctx context.Context, on *opened, out *control.Output) error {
	var a events.Account
	return on.history(ctx, c.Ref, c.At, func(e events.Event, p events.Payload) error {
		before := a
		a.Apply(e, p)
		changes, err := changesBetween(&before, &a)
		if err != nil {
			return err
		}
		return printHistory(out, e, p, changes)
	})
}

// history calls visit for each event of an account up to a moment. It returns an error if the
// account was not open at that moment, or never had the version.
func (on *opened) history(ctx context.Context, ref string, until moment, visit func(events.Event, events.Payload) error) error {
	id, err := on.FindAccount(ctx, ref)
	if err != nil {
		return err
	}
	stream := events.AccountStream(id)
	head, err := on.Store.StreamHead(ctx, stream)
	switch {
	case err != nil:
		return err
	case head.Version == 0:
		return on.NotFound(commands.ErrNotFound, ref)
	case until.Version > head.Version:
		return fmt.Errorf("account %s is at version %d, there is no version %d", ref, head.Version, until.Version)
	}
	for e, err := range on.Store.Events(ctx, stream, 0, math.MaxUint64) {
		if err != nil {
			return err
		}
		if until.before(e) && e.Version == 1 {
			return fmt.Errorf("account %s was opened later, at %s", ref, e.Time.Format(time.RFC3339))
		}
		if until.before(e) {
			return nil
		}
		p, err := e.Payload()
		if err != nil {
			return err
		}
		if err := visit(e, p); err != nil {
			return err
		}
	}
	return nil
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

// by says who caused an event, for whom, and through which contract.
func by(e events.Event) string {
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

// change is what an event did to one field. null is no value.
type change struct {
	Field string         `json:"field"` // its path, such as address.city
	From  jsontext.Value `json:"from"`
	To    jsontext.Value `json:"to"`
}

// compared is the part of an account's state that a history compares. It has no secret: it only
// says that there is a password or a code.
type compared struct {
	Email         string `json:"email,omitzero"`
	PaywayID      string `json:"paywayId,omitzero"`
	Administrator bool   `json:"administrator"`
	Password      string `json:"password,omitzero"`
	events.Profile
	Facts struct { // 0 and false are facts too
		ActiveDomains int    `json:"activeDomains"`
		SeNuDomains   int    `json:"seNuDomains"`
		PendingOrder  string `json:"pendingOrder,omitzero"`
		Verified      bool   `json:"verified"`
		BankIDName    string `json:"bankidName,omitzero"`
	} `json:"facts"`
	EmailChange struct {
		NewEmail   string    `json:"newEmail,omitzero"`
		ExpiresAt  time.Time `json:"expiresAt,omitzero"`
		WrongCodes int       `json:"wrongCodes"`
	} `json:"emailChange"`
	Identities []events.Identity `json:"identities,omitempty"`
}

// hidden stands for a secret.
const hidden = "(secret)"

func compare(a *events.Account) (c compared) {
	c.Email, c.PaywayID, c.Administrator, c.Profile = a.Email, a.PaywayID, a.Administrator, a.Profile
	if a.PasswordHash != "" {
		c.Password = hidden
	}
	c.Facts.ActiveDomains, c.Facts.SeNuDomains = a.Facts.ActiveDomains, a.Facts.SeNuDomains
	c.Facts.PendingOrder, c.Facts.BankIDName = a.Facts.PendingOrder, a.Facts.BankIDName
	c.Facts.Verified = a.Facts.Verified
	c.EmailChange.NewEmail, c.EmailChange.ExpiresAt = a.EmailChange.NewEmail, a.EmailChange.ExpiresAt
	c.EmailChange.WrongCodes = a.EmailChange.Failed
	c.Identities = a.Identities
	return c
}

// changesBetween lists the differences between two states of an account. For an erased account
// it lists none, since they would repeat what was erased.
func changesBetween(before, after *events.Account) ([]change, error) {
	changes := []change{}
	if after.Erased {
		return changes, nil
	}
	old, err := fieldsOf(compare(before))
	if err != nil {
		return nil, err
	}
	present, err := fieldsOf(compare(after))
	if err != nil {
		return nil, err
	}
	for _, f := range present {
		was := valueOf(old, f.path)
		// Every password is shown as hidden.
		renewed := f.path == "password" && before.PasswordHash != after.PasswordHash
		if renewed || !bytes.Equal(was, f.value) {
			changes = append(changes, change{f.path, was, f.value})
		}
	}
	for _, f := range old {
		if now := valueOf(present, f.path); now.Kind() == 'n' {
			changes = append(changes, change{f.path, f.value, now})
		}
	}
	return changes, nil
}

// field is a value in a JSON object, nested ones included.
type field struct {
	path  string
	value jsontext.Value
}

func valueOf(fields []field, path string) jsontext.Value {
	at := slices.IndexFunc(fields, func(f field) bool { return f.path == path })
	if at < 0 {
		return jsontext.Value("null")
	}
	return fields[at].value
}

// fieldsOf lists the values in an object, in its order.
func fieldsOf(v any) (all []field, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for kind := dec.PeekKind(); kind != 0; kind = dec.PeekKind() {
		if kind == '{' || kind == '}' || control.NameComesNext(dec) {
			if _, err := dec.ReadToken(); err != nil {
				return nil, err
			}
			continue
		}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		path := strings.ReplaceAll(strings.Trim(string(dec.StackPointer()), "/"), "/", ".")
		all = append(all, field{path, slices.Clone(value)})
	}
	return all, nil
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
