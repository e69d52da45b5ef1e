package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"konto/events"
	"konto/eventstore"
)

// ErrOtherLog tells that the log which was made does not read as the one that was
// exported. It must be thrown away; this is a bug of konto's, or a damaged disk.
var ErrOtherLog = errors.New("the imported log does not read as the exported one")

// readBack decrypts the whole log that was made, and compares what it reads with
// what the export says in clear.
func (m *importer) readBack(ctx context.Context) error {
	var content [sha256.Size]byte
	read := uint64(0)
	for head := m.from.header.Head; read < head; {
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
	if read != m.from.header.Head || !m.from.header.Encrypted && content != m.content {
		return fmt.Errorf("%w: compared %d of %d events", ErrOtherLog, read, m.from.header.Head)
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
