package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"konto/events"
	"konto/eventstore"
)

// Target is a log without records, its keys, and the store over both.
type Target struct {
	Log   eventstore.Log
	Store *eventstore.Store
	Keys  Keys
	Tell  func(done, total uint64) // nil: nobody is told
}

// Keys is what a move needs of a keyring beyond eventstore.Keys.
type Keys interface {
	eventstore.Keys
	// Destroy destroys the keys of streams for good; see keyring.Keyring.
	Destroy(ctx context.Context, streams ...events.Stream) error
}

// loader is a log that takes in many batches at once, faster than one by one.
type loader interface {
	AppendAll(ctx context.Context, batches []eventstore.Batch) (last uint64, err error)
}

// ErrNotEmpty tells that the log to import into has records.
var ErrNotEmpty = errors.New("the log is not empty")

// makers is how many keys are made at once; they share the commits of the keyring.
const makers = 256

// Import fills a log. After any error, ErrNotEmpty but for, the log and the keys
// hold a part of the export and must be thrown away. Further errors: ErrFormat,
// ErrCutOff, those of the log and the keys.
func Import(ctx context.Context, from *Reader, to Target) (End, error) {
	if to.Tell == nil {
		to.Tell = func(uint64, uint64) {}
	}
	head, err := to.Log.Head(ctx)
	if err != nil {
		return End{}, err
	}
	if head != 0 {
		return End{}, ErrNotEmpty
	}
	m := &importer{Target: to, from: from, shredded: make(map[events.Stream]bool)}
	end, err := m.events(ctx)
	if err != nil {
		return End{}, err
	}
	if err := m.destroy(ctx); err != nil {
		return End{}, err
	}
	// Claims are not in the file: they follow from the events.
	if err := to.Store.RenewClaims(ctx, func(done, total uint64) { to.Tell(total+done, 2*total) }); err != nil {
		return End{}, fmt.Errorf("claims: %w", err)
	}
	return *end, m.readBack(ctx)
}

// importer is one import under way.
type importer struct {
	Target
	from     *Reader
	chain    [sha256.Size]byte // of the records
	content  [sha256.Size]byte // of the events in clear, linked as a chain
	shredded map[events.Stream]bool
}

// events stores all events, as they are or sealed with new keys.
func (m *importer) events(ctx context.Context) (*End, error) {
	head := m.from.header.Head
	for {
		m.Tell(m.from.done, head)
		entries, end, err := m.page()
		if err != nil {
			return nil, err
		}
		records, err := m.records(ctx, entries)
		if err != nil {
			return nil, err
		}
		if err := m.store(ctx, records); err != nil {
			return nil, err
		}
		if end == nil {
			continue
		}
		if m.from.header.Encrypted && !bytes.Equal(end.Chain, m.chain[:]) && head > 0 {
			return nil, damaged(m.from.number-1, "has another hash of the chain")
		}
		return end, nil
	}
}

// page reads events; end is not nil when they are the last.
func (m *importer) page() (entries []*entry, end *End, err error) {
	for len(entries) < page {
		e, end, err := m.from.next()
		if err != nil || end != nil {
			return entries, end, err
		}
		entries = append(entries, e)
	}
	return entries, nil, nil
}

// records makes the records of one page.
func (m *importer) records(ctx context.Context, entries []*entry) ([]eventstore.Record, error) {
	if !m.from.header.Encrypted {
		if err := m.makeKeys(ctx, entries); err != nil {
			return nil, err
		}
	}
	records := make([]eventstore.Record, len(entries))
	for i, e := range entries {
		_, _, err := e.Stream.Split()
		if err != nil {
			return nil, fmt.Errorf("position %d: %w", e.Position, ErrFormat)
		}
		if m.from.header.Encrypted {
			records[i], err = e.sealed()
		} else {
			records[i], err = m.seal(ctx, e)
		}
		if err != nil {
			return nil, fmt.Errorf("event %s at position %d: %w", e.Type, e.Position, err)
		}
		records[i].Position = e.Position
		m.chain = eventstore.ChainHash(m.chain, records[i])
	}
	return records, nil
}

// makeKeys makes the keys of streams that begin on a page.
func (m *importer) makeKeys(ctx context.Context, entries []*entry) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(makers)
	for _, e := range entries {
		// A name that is no stream's is another row's of the keyring.
		if e.Version == 1 && !e.Shredded && events.Sealed(e.Type) && e.Stream.Category() != "" {
			group.Go(func() error {
				_, err := m.Keys.Create(ctx, e.Stream)
				return err
			})
		}
	}
	return group.Wait()
}

// seal makes the record of an event in clear, and checks that it is one that this
// konto knows.
func (m *importer) seal(ctx context.Context, e *entry) (eventstore.Record, error) {
	event := events.Event{
		ID: e.ID, Stream: e.Stream, Version: e.Version, Position: e.Position,
		Type: e.Type, Time: e.Time.UTC(), Shredded: e.Shredded, Data: e.Data,
	}
	if e.Shredded {
		if e.Metadata != nil || e.Data != nil {
			return eventstore.Record{}, ErrFormat
		}
		m.shredded[e.Stream] = true
	} else {
		if json.Unmarshal(e.Metadata, &event.Metadata, json.RejectUnknownMembers(true)) != nil { // whose message may quote it
			return eventstore.Record{}, eventstore.ErrMetadata
		}
		if _, err := events.Decode(e.Type, e.Data); err != nil {
			return eventstore.Record{}, err
		}
	}
	var err error
	if m.content, err = link(m.content, event); err != nil {
		return eventstore.Record{}, err
	}
	return m.Store.Seal(ctx, event)
}

// sealed is the record as it was.
func (e *entry) sealed() (r eventstore.Record, err error) {
	r = eventstore.Record{Stream: e.Stream, Version: e.Version, ID: e.ID, Type: e.Type, Time: e.Time.UTC()}
	if json.Unmarshal(e.Metadata, &r.Metadata) != nil || json.Unmarshal(e.Data, &r.Data) != nil {
		return r, ErrFormat
	}
	return r, nil
}

// store appends records at the positions that they had.
func (m *importer) store(ctx context.Context, records []eventstore.Record) error {
	batches := make([]eventstore.Batch, len(records))
	for i, r := range records {
		batches[i] = eventstore.Batch{Stream: r.Stream, Expected: r.Version - 1, Records: records[i : i+1]}
	}
	last, err := m.append(ctx, batches)
	if err != nil {
		return err
	}
	if n := len(records); n > 0 && last != records[n-1].Position {
		return fmt.Errorf("the event of position %d was stored at %d: others write to the log", records[n-1].Position, last)
	}
	return nil
}

func (m *importer) append(ctx context.Context, batches []eventstore.Batch) (last uint64, err error) {
	if log, ok := m.Log.(loader); ok {
		return log.AppendAll(ctx, batches)
	}
	for _, b := range batches {
		if last, err = m.Log.Append(ctx, b); err != nil {
			return last, err
		}
	}
	return last, nil
}

// destroy puts tombstones in the place of the keys that the exported log had lost.
func (m *importer) destroy(ctx context.Context) error {
	var streams []events.Stream
	for stream := range m.shredded {
		streams = append(streams, stream)
	}
	if len(streams) == 0 {
		return nil
	}
	return m.Keys.Destroy(ctx, streams...)
}
