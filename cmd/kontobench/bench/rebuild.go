package bench

import (
	"context"
	"fmt"
	"time"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// Rebuilding is an open data folder on which no server runs.
type Rebuilding struct {
	Log   eventstore.Feed
	Store *eventstore.Store
	Model *projections.ReadModel // with all events of the log
}

// page is how many records Scan reads at a time.
const page = 1000

// Rates measures how fast the read model is rebuilt. It also measures how fast one goroutine reads
// the same records and decodes payloads like theirs, without decrypting, folding or writing.
func (r Rebuilding) Rates(ctx context.Context, measured func()) (*Rebuild, error) {
	samples, err := r.samples(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	scanned, err := Scan(ctx, r.Log, func(record eventstore.Record) error {
		_, err := events.Decode(record.Type, samples[record.Type])
		return err
	})
	if err != nil {
		return nil, err
	}
	raw := float64(scanned) / time.Since(begun).Seconds()
	measured()
	begun = time.Now()
	done, err := r.Model.Rebuild(ctx, projections.RebuildConfig{})
	if err != nil {
		return nil, err
	}
	rate := float64(done.Events) / time.Since(begun).Seconds()
	if done.Events != scanned || done.Different() != 0 {
		return nil, fmt.Errorf("the rebuilt read model applied %d of %d events and differs in %d rows", done.Events, scanned, done.Different())
	}
	measured()
	return &Rebuild{Events: done.Events, PerSecond: rate, Raw: raw, OfRaw: rate / raw}, nil
}

// samples returns decrypted payloads, one of each type in the log.
func (r Rebuilding) samples(ctx context.Context) (map[string][]byte, error) {
	samples := map[string][]byte{}
	_, err := Scan(ctx, r.Log, func(record eventstore.Record) error {
		if _, known := samples[record.Type]; known {
			return nil
		}
		e, err := r.Store.OpenRecord(ctx, record)
		samples[record.Type] = e.Data
		return err
	})
	return samples, err
}

// Scan calls each for every record of the log, and returns how many there are.
func Scan(ctx context.Context, log eventstore.Feed, each func(eventstore.Record) error) (n uint64, err error) {
	for after := uint64(0); ; {
		records, err := log.ReadAll(ctx, after, page)
		if err != nil || len(records) == 0 {
			return n, err
		}
		for _, record := range records {
			if err := each(record); err != nil {
				return n, err
			}
			after = record.Position
			n++
		}
	}
}
