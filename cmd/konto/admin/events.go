package admin

import (
	"context"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/events"
	"konto/eventstore"
)

// Event is an event of the log for the operator: everything but secrets.
type Event struct {
	Position uint64          `json:"position"`
	Time     time.Time       `json:"time"`
	Stream   events.Stream   `json:"stream"`
	Version  uint64          `json:"version"`
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	Metadata events.Metadata `json:"metadata"`
	Data     jsontext.Value  `json:"data"`
	Shredded bool            `json:"shredded,omitzero"`
}

// EventFilter selects events; zero members select all.
type EventFilter struct {
	Account ulid.ULID
	Type    string // such as EmailChanged or EmailChanged.v1
}

func (f EventFilter) wants(r eventstore.Record) bool {
	name, _, _ := strings.Cut(r.Type, ".")
	return f.Type == "" || f.Type == r.Type || f.Type == name
}

// mostRead is how many records of the log are read for one page at most.
const mostRead = 5000

// ListEvents returns a page of events after a position. After an error the page has the events before
// the one that cannot be read.
func (k *Konto) ListEvents(ctx context.Context, f EventFilter, after uint64, limit int) (Page[Event], error) {
	found, reached, end, err := k.eventsAfter(ctx, f, after, limit)
	page := Page[Event]{Items: found}
	if !end {
		page.Next = strconv.FormatUint(reached, 10)
	}
	return page, err
}

// heartbeat is how long FollowEvents waits for events at most before it calls pause again.
const heartbeat = 15 * time.Second

// FollowEvents calls visit for each event after a position, and pause with each position up to which
// it has looked: after every page, at the log's end, and at least each heartbeat there. It ends with
// ctx, whose end is no error, or when visit or pause returns an error.
func (k *Konto) FollowEvents(ctx context.Context, f EventFilter, after uint64, visit func(Event) error, pause func(position uint64) error) error {
	for ctx.Err() == nil {
		found, reached, end, err := k.eventsAfter(ctx, f, after, datafolder.PageSize)
		for _, e := range found {
			if err := visit(e); err != nil {
				return err
			}
		}
		if after = reached; err == nil {
			err = pause(after)
		}
		if err == nil && end {
			err = k.await(ctx, after)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// await waits for an event after a position, for a heartbeat at most.
func (k *Konto) await(ctx context.Context, after uint64) error {
	bounded, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	err := k.Store.Wait(bounded, after)
	if bounded.Err() != nil {
		return nil
	}
	return err
}

// eventsAfter returns events after a position, up to a limit. It has looked at everything up to
// reached, a position of the whole log. end says that nothing follows.
func (k *Konto) eventsAfter(ctx context.Context, f EventFilter, after uint64, limit int) (found []Event, reached uint64, end bool, err error) {
	found, reached = []Event{}, after
	head, err := k.Store.Head(ctx)
	if err != nil {
		return found, reached, false, err
	}
	read, err := k.reader(ctx, f, after)
	if err != nil {
		return found, reached, false, err
	}
	for range mostRead / datafolder.PageSize {
		records, err := read()
		if err != nil {
			return found, reached, false, err
		}
		if len(records) == 0 {
			if !f.Account.IsZero() { // its last event may be long before the log's end
				reached = max(reached, head)
			}
			return found, reached, true, nil
		}
		wanted := slices.DeleteFunc(slices.Clone(records), func(r eventstore.Record) bool { return !f.wants(r) })
		more := len(found)+len(wanted) > limit
		wanted = wanted[:min(len(wanted), limit-len(found))]
		if err := k.Store.Prefetch(ctx, wanted); err != nil {
			return found, reached, false, err
		}
		for _, r := range wanted {
			shown, err := k.event(ctx, r)
			if err != nil {
				return found, reached, false, &eventstore.EventError{Type: r.Type, Position: r.Position, Err: err}
			}
			found, reached = append(found, shown), r.Position
		}
		if more {
			return found, reached, false, nil
		}
		reached = records[len(records)-1].Position
	}
	return found, reached, false, nil
}

// reader returns a function that reads the next records after a position, of the log or of one
// account.
func (k *Konto) reader(ctx context.Context, f EventFilter, after uint64) (func() ([]eventstore.Record, error), error) {
	if f.Account.IsZero() {
		return func() (records []eventstore.Record, err error) {
			records, err = k.Log.ReadAll(ctx, after, datafolder.PageSize)
			if len(records) > 0 {
				after = records[len(records)-1].Position
			}
			return records, err
		}, nil
	}
	stream := events.AccountStream(f.Account)
	version, err := k.versionAt(ctx, stream, after)
	return func() (records []eventstore.Record, err error) {
		records, err = k.Log.ReadStream(ctx, stream, version, datafolder.PageSize)
		if len(records) > 0 {
			version = records[len(records)-1].Version
		}
		return records, err
	}, err
}

// versionAt returns the version of a stream at a position of the log. Positions grow with versions.
func (k *Konto) versionAt(ctx context.Context, stream events.Stream, position uint64) (version uint64, err error) {
	head, err := k.Store.StreamHead(ctx, stream)
	switch {
	case err != nil || position == 0:
		return 0, err
	case head.Position <= position:
		return head.Version, nil
	}
	later := sort.Search(int(head.Version), func(i int) bool {
		records, failed := k.Log.ReadStream(ctx, stream, uint64(i), 1)
		if failed != nil {
			err = failed
		}
		return len(records) == 0 || records[0].Position > position
	})
	return uint64(later), err
}

func (k *Konto) event(ctx context.Context, r eventstore.Record) (Event, error) {
	e, err := k.Store.OpenRecord(ctx, r)
	if err != nil {
		return Event{}, err
	}
	data, err := readable(e)
	return Event{e.Position, e.Time, e.Stream, e.Version, e.ID.String(), e.Type, e.Metadata, data, e.Shredded}, err
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
