package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/control"
	"konto/commands"
	"konto/events"
)

// Moment is a point in an account's history: a version, or a time. The zero
// moment is now.
type Moment struct {
	Version uint64
	Time    time.Time
}

// UnmarshalText reads a version, an RFC 3339 time, or a date, which means its first instant in
// UTC.
func (m *Moment) UnmarshalText(text []byte) (err error) {
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
func (m Moment) MarshalText() ([]byte, error) {
	if m.Time.IsZero() {
		return strconv.AppendUint(nil, m.Version, 10), nil
	}
	return m.Time.AppendFormat(nil, time.RFC3339Nano), nil
}

// before reports whether the moment had passed when e happened.
func (m Moment) before(e events.Event) bool {
	return m.Version > 0 && e.Version > m.Version || !m.Time.IsZero() && e.Time.After(m.Time)
}

// accountEvents iterates over the events of an account up to a moment. It yields an error if the
// account was not open at that moment, or never had the version. An error is the last thing that it
// yields.
func (k *Konto) accountEvents(ctx context.Context, id ulid.ULID, until Moment) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		stream := events.AccountStream(id)
		head, err := k.Store.StreamHead(ctx, stream)
		switch {
		case err != nil:
		case head.Version == 0:
			err = commands.ErrNotFound
		case until.Version > head.Version:
			err = missing(fmt.Sprintf("account %s is at version %d, there is no version %d", id, head.Version, until.Version))
		}
		if err != nil {
			yield(events.Event{}, err)
			return
		}
		for e, err := range k.Store.Events(ctx, stream, 0, math.MaxUint64) {
			if err == nil && until.before(e) {
				if e.Version == 1 {
					yield(events.Event{}, missing(fmt.Sprintf("account %s was opened later, at %s", id, e.Time.Format(time.RFC3339))))
				}
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Entry is what one event did to an account.
type Entry struct {
	Version  uint64    `json:"version"`
	Position uint64    `json:"position"`
	Time     time.Time `json:"time"`
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	events.Metadata
	Data     jsontext.Value `json:"data"`
	Changes  []Change       `json:"changes"`
	Shredded bool           `json:"shredded,omitzero"`
	Payload  events.Payload `json:"-"`
}

// History iterates over what happened to an account after a version, up to a moment. An error is the
// last thing that it yields.
func (k *Konto) History(ctx context.Context, id ulid.ULID, until Moment, after uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var a events.Account
		for e, err := range k.accountEvents(ctx, id, until) {
			var entry Entry
			switch {
			case err != nil:
			case e.Version > after:
				entry, err = newEntry(&a, e)
			default:
				if _, err = apply(&a, e); err == nil {
					continue
				}
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

// apply applies an event to its account, and returns its payload.
func apply(a *events.Account, e events.Event) (events.Payload, error) {
	p, err := e.Payload()
	if err == nil {
		a.Apply(e, p)
	}
	return p, err
}

// newEntry applies an event to its account, and returns what it changed.
func newEntry(a *events.Account, e events.Event) (Entry, error) {
	before := *a
	p, err := apply(a, e)
	if err != nil {
		return Entry{}, err
	}
	changes, err := changesBetween(&before, a)
	if err != nil {
		return Entry{}, err
	}
	data, err := readable(e)
	return Entry{
		Version: e.Version, Position: e.Position, Time: e.Time, ID: e.ID.String(), Type: e.Type,
		Metadata: e.Metadata, Data: data, Changes: changes, Shredded: e.Shredded, Payload: p,
	}, err
}

// HistoryPage returns a page of an account's history after a version.
func (k *Konto) HistoryPage(ctx context.Context, id ulid.ULID, until Moment, after uint64, limit int) (Page[Entry], error) {
	page := Page[Entry]{Items: []Entry{}}
	for entry, err := range k.History(ctx, id, until, after) {
		if err != nil {
			return page, err
		}
		if len(page.Items) == limit {
			page.Next = strconv.FormatUint(page.Items[limit-1].Version, 10)
			break
		}
		page.Items = append(page.Items, entry)
	}
	return page, nil
}

// Change is what an event did to one field. null is no value.
type Change struct {
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
func changesBetween(before, after *events.Account) ([]Change, error) {
	changes := []Change{}
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
			changes = append(changes, Change{f.path, was, f.value})
		}
	}
	for _, f := range old {
		if now := valueOf(present, f.path); now.Kind() == 'n' {
			changes = append(changes, Change{f.path, f.value, now})
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
