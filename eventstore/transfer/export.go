package transfer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/events"
	"konto/eventstore"
)

// page is how many events are read and stored at once.
const page = 1000

// Config configures Export.
type Config struct {
	Log      Source                   // required
	ID       []byte                   // of the log
	Clear    *eventstore.Store        // of the same log, to export in clear; nil to export encrypted
	Progress func(done, total uint64) // may be nil
	Created  time.Time                // Header.Created
}

// Source is a log that is exported.
type Source interface {
	eventstore.Feed
	// Receipts is that of eventstore.Checker.
	Receipts(ctx context.Context, after eventstore.ReceiptKey, limit int) ([]eventstore.StoredReceipt, error)
}

// Export writes a log as it is when the call begins, or, with its receipts, a moment later. An
// export in clear contains every secret of the log.
func Export(ctx context.Context, to io.Writer, cfg Config) (End, error) {
	head, err := cfg.Log.Head(ctx)
	if err != nil {
		return End{}, err
	}
	progress := cfg.Progress
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	w := newWriter(to)
	header := Header{Format: formatEvents, Log: cfg.ID, Encrypted: cfg.Clear == nil, Head: head, Created: cfg.Created.UTC()}
	if header.Encrypted {
		header.Format = formatReceipts
	}
	if err := w.put(line{Export: &header}); err != nil {
		return End{}, err
	}
	if header.Encrypted {
		if err := w.receipts(ctx, cfg.Log); err != nil {
			return End{}, err
		}
		// A receipt of an append that is not exported would keep the append from being repeated.
		if head, err = cfg.Log.Head(ctx); err != nil {
			return End{}, err
		}
	}
	if head > 0 {
		if err := cfg.Log.Wait(ctx, head-1); err != nil {
			return End{}, err
		}
	}
	for done := uint64(0); done < head; {
		progress(done, head)
		records, err := cfg.Log.ReadAll(ctx, done, int(min(page, head-done)))
		if err != nil {
			return End{}, err
		}
		if len(records) == 0 || records[0].Position != done+1 {
			return End{}, fmt.Errorf("the log has no record at position %d", done+1)
		}
		if cfg.Clear != nil {
			if err := cfg.Clear.Prefetch(ctx, records); err != nil {
				return End{}, err
			}
		}
		for _, r := range records {
			if err := w.record(ctx, cfg.Clear, r); err != nil {
				return End{}, fmt.Errorf("event %s at position %d: %w", r.Type, r.Position, err)
			}
		}
		done = records[len(records)-1].Position
	}
	progress(head, head)
	return w.finish(head, cfg.Clear == nil)
}

// writer writes lines and hashes them.
type writer struct {
	to     *bufio.Writer
	digest hash.Hash
	chain  [sha256.Size]byte
}

func newWriter(to io.Writer) *writer {
	return &writer{to: bufio.NewWriterSize(to, 1<<16), digest: sha256.New()}
}

// receipts writes all receipts, in the order of their keys.
func (w *writer) receipts(ctx context.Context, log Source) error {
	for after := (eventstore.ReceiptKey{}); ; {
		found, err := log.Receipts(ctx, after, page)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, r := range found {
			if err := w.put(line{Receipt: &receipt{Key: r.Key[:], Stream: r.Stream, Data: r.Data, Expires: r.Expires}}); err != nil {
				return err
			}
		}
		after = found[len(found)-1].Key
	}
}

// record writes one event. If clear is not nil, it decrypts the event.
func (w *writer) record(ctx context.Context, clear *eventstore.Store, r eventstore.Record) error {
	e := entry{Position: r.Position, Stream: r.Stream, Version: r.Version, ID: r.ID, Type: r.Type, Time: r.Time}
	if clear == nil {
		w.chain = eventstore.ChainHash(w.chain, r)
		e.Metadata, e.Data = quoted(r.Metadata), quoted(r.Data)
		return w.put(line{Event: &e})
	}
	opened, err := clear.OpenRecord(ctx, r)
	if err != nil {
		return err
	}
	if e.Shredded = opened.Shredded; !e.Shredded {
		if e.Metadata, err = json.Marshal(opened.Metadata); err != nil {
			return err
		}
		e.Data = opened.Data
		if !e.Data.IsValid() { // Marshal would quote it
			return events.ErrMisfit
		}
	}
	return w.put(line{Event: &e})
}

// quoted returns bytes as a JSON string in base64.
func quoted(b []byte) jsontext.Value {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // bytes always marshal
	}
	return text
}

func (w *writer) put(l line) error {
	// Data is written as it is, to the byte.
	text, err := json.Marshal(l, jsontext.PreserveRawStrings(true))
	if err != nil {
		return err
	}
	text = append(text, '\n')
	w.digest.Write(text)
	_, err = w.to.Write(text)
	return err
}

// finish writes the last line.
func (w *writer) finish(n uint64, encrypted bool) (End, error) {
	end := End{Events: n, SHA256: w.digest.Sum(nil)}
	if encrypted {
		end.Chain = w.chain[:]
	}
	if err := w.put(line{End: &end}); err != nil {
		return End{}, err
	}
	return end, w.to.Flush()
}
