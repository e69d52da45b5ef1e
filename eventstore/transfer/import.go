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
	Log interface {
		eventstore.Feed
		eventstore.Loader
	}
	Store    *eventstore.Store
	Keys     Keys
	Progress func(done, total uint64) // may be nil
}

// Keys is a keyring that can destroy keys.
type Keys interface {
	eventstore.Keys
	// Destroy destroys the keys of streams for good; see keyring.Keyring.
	Destroy(ctx context.Context, streams ...events.Stream) error
}

// ErrOtherLog is matched by Import's error if the imported log differs from the exported one,
// because of a bug in konto or a damaged disk. Delete the imported log.
var ErrOtherLog = errors.New("the imported log does not read as the exported one")

// ErrNotEmpty is returned if the log to import into has records. Nothing was changed.
var ErrNotEmpty = errors.New("the log is not empty")

// createdAtOnce is how many keys are created at once. They share the commits of the keyring.
const createdAtOnce = 256

// Import fills a log. After any error except ErrNotEmpty, the log and the keys hold a part of
// the export and must be deleted. Further errors: ErrFormat, ErrCutOff, ErrOtherLog, and those of
// the log and the keys.
func Import(ctx context.Context, from *Reader, to Target) (End, error) {
	if to.Progress == nil {
		to.Progress = func(uint64, uint64) {}
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
	if err := to.Store.RenewClaims(ctx, func(done, total uint64) { to.Progress(total+done, 2*total) }); err != nil {
		return End{}, fmt.Errorf("claims: %w", err)
	}
	return *end, m.readBack(ctx)
}

// importer is the state of an import.
type importer struct {
	Target
	from     *Reader
	chain    [sha256.Size]byte // of the records
	content  [sha256.Size]byte // a chain over the events in clear
	shredded map[events.Stream]bool
}

// events stores all events, as they are or encrypted with new keys.
func (m *importer) events(ctx context.Context) (*End, error) {
	for {
		m.Progress(m.from.done, max(m.from.done, m.from.header.Head))
		receipts, entries, end, err := m.page()
		if err != nil {
			return nil, err
		}
		if err := m.storeReceipts(ctx, receipts); err != nil {
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
		if m.from.header.Encrypted && !bytes.Equal(end.Chain, m.chain[:]) && end.Events > 0 {
			return nil, damaged(m.from.number-1, "has another hash of the chain")
		}
		return end, nil
	}
}

// page reads receipts and events. end is not nil if they are the last.
func (m *importer) page() (receipts []*receipt, entries []*entry, end *End, err error) {
	for len(receipts)+len(entries) < page {
		r, e, end, err := m.from.next()
		switch {
		case err != nil || end != nil:
			return receipts, entries, end, err
		case r != nil:
			receipts = append(receipts, r)
		default:
			entries = append(entries, e)
		}
	}
	return receipts, entries, nil, nil
}

// storeReceipts stores receipts before there is any event, so that no stream has a version.
func (m *importer) storeReceipts(ctx context.Context, receipts []*receipt) error {
	batches := make([]eventstore.Batch, len(receipts))
	for i, r := range receipts {
		if _, _, err := r.Stream.Split(); err != nil || len(r.Key) != len(eventstore.ReceiptKey{}) {
			return fmt.Errorf("a receipt: %w", ErrFormat)
		}
		batches[i] = eventstore.Batch{Stream: r.Stream, Receipts: []eventstore.Receipt{
			{Key: eventstore.ReceiptKey(r.Key), Data: r.Data, Expires: r.Expires.UTC()}}}
	}
	_, err := m.Log.AppendAll(ctx, batches)
	return err
}

// records returns the records of a page.
func (m *importer) records(ctx context.Context, entries []*entry) ([]eventstore.Record, error) {
	if !m.from.header.Encrypted {
		if err := m.createKeys(ctx, entries); err != nil {
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

// createKeys creates the keys of the streams that begin on a page.
func (m *importer) createKeys(ctx context.Context, entries []*entry) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(createdAtOnce)
	for _, e := range entries {
		// A name that is not a stream's may be another row of the keyring.
		if e.Version == 1 && !e.Shredded && events.Sealed(e.Type) && e.Stream.Category() != "" {
			group.Go(func() error {
				_, err := m.Keys.Create(ctx, e.Stream)
				return err
			})
		}
	}
	return group.Wait()
}

// seal returns the record of an event in clear. The event must be one that this konto knows.
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
		if json.Unmarshal(e.Metadata, &event.Metadata, json.RejectUnknownMembers(true)) != nil { // its message may quote the metadata
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

// sealed returns the record of an encrypted event.
func (e *entry) sealed() (r eventstore.Record, err error) {
	r = eventstore.Record{Stream: e.Stream, Version: e.Version, ID: e.ID, Type: e.Type, Time: e.Time.UTC()}
	if json.Unmarshal(e.Metadata, &r.Metadata) != nil || json.Unmarshal(e.Data, &r.Data) != nil {
		return r, ErrFormat
	}
	return r, nil
}

// store appends records. They must get their old positions.
func (m *importer) store(ctx context.Context, records []eventstore.Record) error {
	batches := make([]eventstore.Batch, len(records))
	for i, r := range records {
		batches[i] = eventstore.Batch{
			Stream: r.Stream, Expected: r.Version - 1, Records: records[i : i+1],
			DropReceipts: !events.Sealed(r.Type), // as eventstore.Store does when a stream ends
		}
	}
	last, err := m.Log.AppendAll(ctx, batches)
	if err != nil {
		return err
	}
	if n := len(records); n > 0 && last != records[n-1].Position {
		return fmt.Errorf("the event of position %d was stored at %d: others write to the log", records[n-1].Position, last)
	}
	return nil
}

// destroy destroys the keys that the exported log had lost.
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

// readBack decrypts the whole imported log, and compares it with the export if that is in clear.
func (m *importer) readBack(ctx context.Context) error {
	var content [sha256.Size]byte
	read := uint64(0)
	if m.from.done > 0 {
		if err := m.Log.Wait(ctx, m.from.done-1); err != nil {
			return err
		}
	}
	for read < m.from.done {
		evs, err := m.Store.ReadAll(ctx, read, page)
		if err != nil {
			return err
		}
		if len(evs) == 0 {
			break
		}
		for _, e := range evs {
			if content, err = link(content, e); err != nil {
				return err
			}
		}
		read = evs[len(evs)-1].Position
	}
	if read != m.from.done || !m.from.header.Encrypted && content != m.content {
		return fmt.Errorf("%w: compared %d of %d events", ErrOtherLog, read, m.from.done)
	}
	return nil
}

// link adds an event in clear to a chain.
func link(previous [sha256.Size]byte, e events.Event) ([sha256.Size]byte, error) {
	r := eventstore.Record{
		Position: e.Position, Stream: e.Stream, Version: e.Version, ID: e.ID, Type: e.Type, Time: e.Time, Data: e.Data,
	}
	if e.Shredded {
		return eventstore.ChainHash(previous, r), nil
	}
	var err error
	if r.Metadata, err = json.Marshal(e.Metadata); err != nil {
		return previous, err
	}
	return eventstore.ChainHash(previous, r), nil
}
