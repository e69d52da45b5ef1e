// Package memory implements eventstore.Log in memory, for tests. It is also the shortest
// implementation of the contract to read.
package memory

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"konto/events"
	"konto/eventstore"
)

// Log implements eventstore.Log. Nothing outlives the process.
type Log struct {
	*store
	closed bool // guarded by store.mu
}

// store is what several logs may share, as the logs of several nodes do.
type store struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when records are appended or a log is closed
	records []eventstore.Record
	streams map[events.Stream][]eventstore.Record
	claims  map[eventstore.ClaimKey][]events.Stream // holders in order
	rule    eventstore.ClaimRule
	// receipts are never deleted because they expired.
	receipts map[eventstore.ReceiptKey]eventstore.StoredReceipt
}

// New returns an empty log.
func New() *Log {
	return &Log{store: &store{
		changed:  make(chan struct{}),
		streams:  make(map[events.Stream][]eventstore.Record),
		claims:   make(map[eventstore.ClaimKey][]events.Stream),
		rule:     eventstore.ClaimRule{Number: events.ClaimRule},
		receipts: make(map[eventstore.ReceiptKey]eventstore.StoredReceipt),
	}}
}

// OpenAnother returns another log on the same store, as another node has it.
func (l *Log) OpenAnother() *Log { return &Log{store: l.store} }

// Append implements eventstore.Appender. Its outcome is always known.
func (l *Log) Append(ctx context.Context, b eventstore.Batch) (uint64, error) {
	return l.AppendAll(ctx, []eventstore.Batch{b})
}

// AppendAll implements eventstore.Loader.
func (l *Log) AppendAll(ctx context.Context, batches []eventstore.Batch) (last uint64, err error) {
	for _, b := range batches {
		if err := b.Check(); err != nil {
			return 0, err
		}
	}
	if err := l.lock(ctx); err != nil {
		return 0, err
	}
	defer l.mu.Unlock()
	for _, b := range batches {
		position, err := l.append(b)
		if err != nil {
			return last, err
		}
		last = max(last, position)
	}
	return last, nil
}

func (l *store) append(b eventstore.Batch) (uint64, error) {
	// Everything is checked before the first change, which makes the batch atomic.
	if err := l.refuse(b); err != nil {
		return 0, err
	}
	for _, op := range b.Claims {
		l.claim(op, b.Stream)
	}
	if b.DropReceipts {
		maps.DeleteFunc(l.receipts, func(_ eventstore.ReceiptKey, r eventstore.StoredReceipt) bool { return r.Stream == b.Stream })
	}
	for _, r := range b.Receipts {
		r.Data = bytes.Clone(r.Data)
		l.receipts[r.Key] = eventstore.StoredReceipt{Receipt: r, Stream: b.Stream}
	}
	if len(b.Records) == 0 {
		return 0, nil
	}
	for _, r := range eventstore.CloneAll(b.Records) {
		r.Position = uint64(len(l.records)) + 1
		l.records = append(l.records, r)
		l.streams[b.Stream] = append(l.streams[b.Stream], r)
	}
	l.wake()
	return uint64(len(l.records)), nil
}

func (l *store) refuse(b eventstore.Batch) error {
	for _, r := range b.Receipts {
		if known, ok := l.receipt(r.Key); ok {
			return &eventstore.Repeated{Key: r.Key, Stream: known.Stream}
		}
	}
	if actual := uint64(len(l.streams[b.Stream])); actual != b.Expected {
		return &eventstore.VersionConflict{Stream: b.Stream, Expected: b.Expected, Actual: actual}
	}
	for _, op := range b.Claims {
		holders := l.claims[op.Key]
		if !op.Release && len(holders) > 0 && !slices.Contains(holders, b.Stream) {
			return &eventstore.ClaimTaken{Key: op.Key, Holder: holders[0]}
		}
	}
	return nil
}

func (l *store) claim(op eventstore.ClaimOp, stream events.Stream) {
	holders := l.claims[op.Key]
	at, held := slices.BinarySearch(holders, stream)
	switch {
	case op.Release && held:
		holders = slices.Delete(holders, at, at+1)
	case !op.Release && !held:
		holders = slices.Insert(holders, at, stream)
	}
	if l.claims[op.Key] = holders; len(holders) == 0 {
		delete(l.claims, op.Key)
	}
}

// receipt returns a receipt that has not expired.
func (l *store) receipt(key eventstore.ReceiptKey) (eventstore.StoredReceipt, bool) {
	r, ok := l.receipts[key]
	return r, ok && time.Now().Before(r.Expires)
}

// ReplaceClaims implements eventstore.ClaimRules.
func (l *Log) ReplaceClaims(ctx context.Context, rule int, held iter.Seq2[eventstore.HeldClaim, error]) error {
	next := store{claims: make(map[eventstore.ClaimKey][]events.Stream), rule: eventstore.ClaimRule{Number: rule}}
	for c, err := range held { // before the lock, because held may read the log
		if err != nil {
			return err
		}
		next.claim(eventstore.ClaimOp{Key: c.Key}, c.Stream)
		next.rule.Shared = next.rule.Shared || len(next.claims[c.Key]) > 1
	}
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.mu.Unlock()
	l.claims, l.rule = next.claims, next.rule
	return nil
}

// ClaimRule implements eventstore.ClaimRules.
func (l *Log) ClaimRule(ctx context.Context) (eventstore.ClaimRule, error) {
	if err := l.lock(ctx); err != nil {
		return eventstore.ClaimRule{}, err
	}
	defer l.mu.Unlock()
	return l.rule, nil
}

// ReadStream implements eventstore.Reader.
func (l *Log) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	if err := l.lock(ctx); err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	return page(l.streams[stream], after, limit), nil
}

// StreamHead implements eventstore.Reader.
func (l *Log) StreamHead(ctx context.Context, stream events.Stream) (eventstore.StreamHead, error) {
	if err := l.lock(ctx); err != nil {
		return eventstore.StreamHead{}, err
	}
	defer l.mu.Unlock()
	records := l.streams[stream]
	if len(records) == 0 {
		return eventstore.StreamHead{}, nil
	}
	last := records[len(records)-1]
	return eventstore.StreamHead{Version: last.Version, Position: last.Position}, nil
}

// Holder implements eventstore.Reader.
func (l *Log) Holder(ctx context.Context, key eventstore.ClaimKey) (events.Stream, error) {
	if err := l.lock(ctx); err != nil {
		return "", err
	}
	defer l.mu.Unlock()
	if holders := l.claims[key]; len(holders) > 0 {
		return holders[0], nil
	}
	return "", nil
}

// Claims implements eventstore.Reader.
func (l *Log) Claims(ctx context.Context, after eventstore.HeldClaim, limit int) ([]eventstore.HeldClaim, error) {
	if err := l.lock(ctx); err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	var held []eventstore.HeldClaim
	for key, streams := range l.claims {
		for _, stream := range streams {
			if c := (eventstore.HeldClaim{Key: key, Stream: stream}); c.Compare(after) > 0 {
				held = append(held, c)
			}
		}
	}
	slices.SortFunc(held, eventstore.HeldClaim.Compare)
	return held[:min(max(limit, 0), len(held))], nil
}

// Receipt implements eventstore.Reader.
func (l *Log) Receipt(ctx context.Context, key eventstore.ReceiptKey) (events.Stream, []byte, error) {
	if err := l.lock(ctx); err != nil {
		return "", nil, err
	}
	defer l.mu.Unlock()
	r, ok := l.receipt(key)
	if !ok {
		return "", nil, nil
	}
	return r.Stream, bytes.Clone(r.Data), nil
}

// Receipts returns receipts as eventstore.Checker does.
func (l *Log) Receipts(ctx context.Context, after eventstore.ReceiptKey, limit int) ([]eventstore.StoredReceipt, error) {
	if err := l.lock(ctx); err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	var found []eventstore.StoredReceipt
	for key, r := range l.receipts {
		if bytes.Compare(key[:], after[:]) > 0 {
			r.Data = bytes.Clone(r.Data)
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b eventstore.StoredReceipt) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return found[:min(max(limit, 0), len(found))], nil
}

// ByStream implements eventstore.Reader.
func (l *Log) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	if err := l.lock(ctx); err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	var found []eventstore.Record
	for _, name := range slices.Sorted(maps.Keys(l.streams)) {
		if name < stream || len(found) >= limit {
			continue
		}
		if name > stream {
			after = 0
		}
		found = append(found, page(l.streams[name], after, limit-len(found))...)
	}
	return found, nil
}

// ReadAll implements eventstore.Feed.
func (l *Log) ReadAll(ctx context.Context, after uint64, limit int) ([]eventstore.Record, error) {
	if err := l.lock(ctx); err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	return page(l.records, after, limit), nil
}

// Head implements eventstore.Feed.
func (l *Log) Head(ctx context.Context) (uint64, error) {
	if err := l.lock(ctx); err != nil {
		return 0, err
	}
	defer l.mu.Unlock()
	return uint64(len(l.records)), nil
}

// Wait implements eventstore.Feed.
func (l *Log) Wait(ctx context.Context, after uint64) error {
	for {
		if err := l.lock(ctx); err != nil {
			return err
		}
		head, changed := uint64(len(l.records)), l.changed
		l.mu.Unlock()
		if head > after {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close implements eventstore.Log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
	return nil
}

// lock takes the lock. It returns an error, without the lock, if the log is closed or ctx has
// ended.
func (l *Log) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return eventstore.ErrClosed
	}
	return nil
}

func (l *store) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// page copies up to limit records after a version or position.
func page(records []eventstore.Record, after uint64, limit int) []eventstore.Record {
	if after >= uint64(len(records)) || limit <= 0 {
		return nil
	}
	records = records[after:]
	return eventstore.CloneAll(records[:min(limit, len(records))])
}
