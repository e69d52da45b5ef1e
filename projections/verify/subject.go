package verify

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// subject is a stream with the state that its events have led to so far.
type subject struct {
	stream   events.Stream
	category string
	id       ulid.ULID

	account    events.Account
	credential events.Credential
	party      events.ThirdParty

	version, position uint64
	last              string // type of the last event
	shredded          uint64 // the first position whose key is destroyed, 0 for none
	closings          []closing
	broken            bool // an event could not be folded
}

// wrong is something that is wrong with one event.
type wrong struct {
	position uint64
	what     string
	err      error // nil, or why it could not be read
}

func (w *wrong) Error() string {
	if w.err != nil {
		return explain(w.err)
	}
	return w.what
}

func (w *wrong) Unwrap() error { return w.err }

// newSubject begins a stream. It returns an error for a name that konto does not give.
func newSubject(stream events.Stream) (*subject, error) {
	category, id, err := stream.Split()
	if err != nil {
		return nil, err
	}
	switch category {
	case events.CategoryAccount, events.CategoryCredential, events.CategoryThirdParty:
		return &subject{stream: stream, category: category, id: id}, nil
	}
	return nil, fmt.Errorf("stream %s is of no category that konto knows", stream)
}

// add folds the stream's next record. Its error is a *wrong, unless the log could not
// be read.
func (s *subject) add(ctx context.Context, store *eventstore.Store, closed *closings, r eventstore.Record) error {
	e, err := store.OpenRecord(ctx, r)
	if err != nil {
		return &wrong{position: r.Position, err: err}
	}
	payload, err := e.Payload()
	if err != nil {
		return &wrong{position: r.Position, err: err}
	}
	s.closeUpTo(r.Position - 1)
	if version := s.apply(e, payload); version != e.Version {
		return &wrong{position: r.Position, what: fmt.Sprintf("an event %s does not belong in %s", e.Type, s.stream)}
	}
	if e.Shredded && s.shredded == 0 {
		s.shredded = e.Position
	}
	s.version, s.position, s.last = e.Version, e.Position, e.Type
	if opened, ok := payload.(events.SessionOpened); ok {
		s.closings, err = closed.of(ctx, e.Position, opened.Account, opened.Parent)
	}
	return err
}

func (s *subject) apply(e events.Event, p events.Payload) (version uint64) {
	switch s.category {
	case events.CategoryAccount:
		s.account.Apply(e, p)
		return s.account.Version
	case events.CategoryCredential:
		s.credential.Apply(e, p)
		return s.credential.Version
	}
	s.party.Apply(e, p)
	return s.party.Version
}

// closeUpTo closes the session if a password was changed up to a position, as the
// read model does; see projections/sessions.go.
func (s *subject) closeUpTo(position uint64) {
	for len(s.closings) > 0 && s.closings[0].position <= position {
		c := &s.credential
		if c.Kind == events.KindSession && c.Revoked.IsZero() && c.ID != s.closings[0].kept {
			c.Revoked = s.closings[0].at
		}
		s.closings = s.closings[1:]
	}
}

// row returns the row that the read model must have of the state, or nil if it must
// have none, as before the first event and after a removal.
func (s *subject) row() *projections.StoredRow {
	if s.version == 0 || s.last == events.TypeThirdPartyRemoved {
		return nil
	}
	var row projections.StoredRow
	switch s.category {
	case events.CategoryAccount:
		row = projections.AccountRow(s.account)
	case events.CategoryCredential:
		row = projections.CredentialRow(s.credential)
	default:
		row = projections.ThirdPartyRow(s.party)
	}
	return &row
}

// held returns the claims that the stream must hold.
func (s *subject) held() []events.Claim {
	switch s.category {
	case events.CategoryAccount:
		return s.account.Claims()
	case events.CategoryThirdParty:
		return s.party.Claims()
	}
	return nil
}

// closing is the change of a password, which closes sessions.
type closing struct {
	position uint64
	at       time.Time
	kept     ulid.ULID // the session that stays open
}

// closingsKept is how many accounts' closings are cached.
const closingsKept = 10_000

// closings finds out when an account's sessions were closed. It caches the closings,
// because an account may have many sessions and a long stream.
type closings struct {
	log   eventstore.Reader
	store *eventstore.Store
	cache *simplelru.LRU[ulid.ULID, []closing]
}

func newClosings(store *eventstore.Store, log eventstore.Reader) *closings {
	cache, err := simplelru.NewLRU[ulid.ULID, []closing](closingsKept, nil)
	if err != nil {
		panic(err) // the size is not positive
	}
	return &closings{log: log, store: store, cache: cache}
}

// of returns, in order, the closings of accounts after a position. Zero ids are
// skipped.
func (c *closings) of(ctx context.Context, after uint64, accounts ...ulid.ULID) ([]closing, error) {
	var all []closing
	for _, id := range accounts {
		if id.IsZero() {
			continue
		}
		known, ok := c.cache.Get(id)
		if !ok {
			var err error
			if known, err = c.read(ctx, id); err != nil {
				return nil, err
			}
			c.cache.Add(id, known)
		}
		for _, one := range known {
			if one.position > after {
				all = append(all, one)
			}
		}
	}
	slices.SortFunc(all, func(a, b closing) int { return int(int64(a.position) - int64(b.position)) })
	return all, nil
}

func (c *closings) read(ctx context.Context, id ulid.ULID) (found []closing, err error) {
	for r, err := range eventstore.Records(ctx, c.log, events.AccountStream(id), 0, math.MaxUint64) {
		if err != nil {
			return nil, err
		}
		if r.Type != events.TypePasswordChanged {
			continue
		}
		// An event that cannot be read is reported with its own stream.
		if e, err := c.store.OpenRecord(ctx, r); err == nil {
			if p, err := e.Payload(); err == nil {
				if changed, ok := p.(events.PasswordChanged); ok {
					found = append(found, closing{position: r.Position, at: r.Time, kept: changed.Session})
				}
			}
		}
	}
	return found, nil
}
