package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// newBatch returns n records of a new stream.
func newBatch(n int, claims ...eventstore.ClaimOp) eventstore.Batch {
	return following(events.AccountStream(ulid.Make()), 0, n, claims...)
}

// following returns n records after a version of stream.
func following(stream events.Stream, version uint64, n int, claims ...eventstore.ClaimOp) eventstore.Batch {
	b := eventstore.Batch{Stream: stream, Expected: version, Claims: claims}
	for i := range uint64(n) {
		b.Records = append(b.Records, eventstore.Record{
			Stream: stream, Version: version + i + 1, ID: ulid.Make(), Type: "Tested.v1",
			Time: time.UnixMilli(1_700_000_000_000).UTC(), Metadata: []byte("{}"), Data: []byte("data of " + stream),
		})
	}
	return b
}

func mustAppend(t *testing.T, log *Log, b eventstore.Batch) uint64 {
	t.Helper()
	last, err := log.Append(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// audit checks a whole log: it expects positions 1 to n and an intact chain. It returns the number of
// records of each stream.
func audit(t *testing.T, log *Log, n int) map[events.Stream]int {
	t.Helper()
	if err := log.CheckChain(t.Context(), nil); err != nil {
		t.Error(err)
	}
	records, err := log.ReadAll(t.Context(), 0, n+1)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != n {
		t.Errorf("the log has %d records, not %d", len(records), n)
	}
	streams := make(map[events.Stream]int)
	for i, r := range records {
		if r.Position != uint64(i)+1 {
			t.Fatalf("record %d is at position %d", i+1, r.Position)
		}
		streams[r.Stream]++
	}
	return streams
}

func reopen(t *testing.T, log *Log) *Log {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, log.path)
}

// held lets the writer's next commit wait until it is released. Meanwhile appends wait in the
// queue.
func held(log *Log) (committing <-chan struct{}, release func()) {
	begun, gate := make(chan struct{}), make(chan struct{})
	commit := log.writer.commit
	var once sync.Once
	log.writer.commit = func(tx *sql.Tx) error {
		once.Do(func() {
			close(begun)
			<-gate
		})
		return commit(tx)
	}
	return begun, sync.OnceFunc(func() { close(gate) })
}

// waiting blocks until n appends are in the queue.
func waiting(log *Log, n int) {
	for {
		log.queue.mu.Lock()
		have := len(log.queue.waiting)
		log.queue.mu.Unlock()
		if have >= n {
			return
		}
		runtime.Gosched()
	}
}

func TestPositionsHaveNoGaps(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	shared := events.AccountStream(ulid.Make())
	key := eventstore.ClaimKey{1}
	var group sync.WaitGroup
	var mu sync.Mutex
	want := make(map[events.Stream]int)
	for i := range 200 {
		group.Go(func() {
			b := newBatch(1 + i%3)
			switch i % 4 {
			case 1: // most lose the race for the stream
				b = following(shared, uint64(i/40), 1)
			case 2: // all but one lose the race for the key
				b = newBatch(2, eventstore.ClaimOp{Key: eventstore.ClaimKey{2}}, eventstore.ClaimOp{Key: key})
			}
			switch last, err := log.Append(context.Background(), b); {
			case err == nil && last > 0:
				mu.Lock()
				want[b.Stream] += len(b.Records)
				mu.Unlock()
			case !errors.Is(err, eventstore.ErrConflict) && !errors.Is(err, eventstore.ErrTaken):
				t.Error(err)
			}
		})
	}
	group.Wait()
	total := 0
	for _, n := range want {
		total += n
	}
	for range 2 { // before and after reopening
		got := audit(t, log, total)
		for stream, n := range want {
			if got[stream] != n {
				t.Errorf("%s has %d records, not the %d that were acknowledged", stream, got[stream], n)
			}
		}
		log = reopen(t, log)
	}
}

func TestWaitingAppendsShareACommit(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	begun, release := held(log)
	commits, commit := 0, log.writer.commit
	log.writer.commit = func(tx *sql.Tx) error { commits++; return commit(tx) }
	var group sync.WaitGroup
	group.Go(func() { _, _ = log.Append(t.Context(), newBatch(1)) })
	<-begun
	const n = 200
	for range n {
		group.Go(func() {
			if _, err := log.Append(context.Background(), newBatch(1)); err != nil {
				t.Error(err)
			}
		})
	}
	waiting(log, n)
	release()
	group.Wait()
	if commits != 2 {
		t.Errorf("%d appends behind another took %d commits, not 2", n, commits)
	}
	audit(t, log, n+1)
}

// TestCommitsAreSynced fails if the connection that commits only syncs at checkpoints.
func TestCommitsAreSynced(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	commit := log.writer.commit
	var synchronous int
	var journal string
	log.writer.commit = func(tx *sql.Tx) error {
		err := errors.Join(
			tx.QueryRow("PRAGMA synchronous").Scan(&synchronous),
			tx.QueryRow("PRAGMA journal_mode").Scan(&journal))
		return errors.Join(err, commit(tx))
	}
	mustAppend(t, log, newBatch(1))
	if synchronous != 2 || journal != "wal" {
		t.Errorf("the commit ran with synchronous = %d and journal_mode = %s, not 2 and wal", synchronous, journal)
	}
}

func TestLogGoesOnAfterAFailedCommit(t *testing.T) {
	broken := errors.New("the disk is gone")
	tests := map[string]struct {
		fail   func(*sql.Tx) error
		stored int // records of the append whose commit failed
	}{
		"not stored": {func(tx *sql.Tx) error { return errors.Join(broken, tx.Rollback()) }, 0},
		"stored":     {func(tx *sql.Tx) error { return errors.Join(broken, tx.Commit()) }, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			log := open(t, filepath.Join(t.TempDir(), "log.db"))
			first, key := newBatch(3), eventstore.ClaimKey{1}
			begun := newBatch(1)
			mustAppend(t, log, first)
			mustAppend(t, log, begun)
			log.writer.commit = func(tx *sql.Tx) error { return test.fail(tx) }
			lost := following(begun.Stream, 1, 2, eventstore.ClaimOp{Key: key})
			if _, err := log.Append(t.Context(), lost); !errors.Is(err, eventstore.ErrOutcomeUnknown) || !errors.Is(err, broken) {
				t.Fatalf("append: %v, want that its outcome is unknown", err)
			}
			if _, err := log.Append(t.Context(), following(first.Stream, 0, 1)); err == nil ||
				errors.Is(err, eventstore.ErrOutcomeUnknown) || errors.Is(err, eventstore.ErrConflict) {
				t.Errorf("an append refused in a group that failed: %v, want a definite error without a verdict", err)
			}
			log.writer.commit = (*sql.Tx).Commit
			// Whether it was stored or not, the log goes on, and followers see the result.
			total := 4 + test.stored
			if err := log.Wait(t.Context(), uint64(total)-1); err != nil {
				t.Error(err)
			}
			if last := mustAppend(t, log, following(first.Stream, 3, 1)); last != uint64(total)+1 {
				t.Errorf("the next record is at %d, not %d", last, total+1)
			}
			want := eventstore.StreamHead{Version: uint64(1 + test.stored), Position: uint64(4 + test.stored)}
			if got, err := log.StreamHead(t.Context(), lost.Stream); err != nil || got != want {
				t.Errorf("the stream ends at %+v, %v, want %+v", got, err, want)
			}
			mustAppend(t, log, following(lost.Stream, want.Version, 1))
			log = reopen(t, log)
			if got := audit(t, log, total+2)[lost.Stream]; got != test.stored+2 {
				t.Errorf("%d records are stored, not %d", got, test.stored+2)
			}
			holder, err := log.Holder(t.Context(), key)
			if err != nil || (holder == lost.Stream) != (test.stored > 0) {
				t.Errorf("the key is held by %q, %v", holder, err)
			}
		})
	}
}

// TestLogGoesOnAfterAFailedInsert lets the file refuse one batch of a group.
func TestLogGoesOnAfterAFailedInsert(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	poison := newBatch(2)
	if err := raw(t, log.path, `CREATE TRIGGER refused BEFORE INSERT ON events WHEN NEW.version = 2
		AND NEW.stream = '`+string(poison.Stream)+`' BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`); err != nil {
		t.Fatal(err)
	}
	begun, release := held(log)
	var group sync.WaitGroup
	group.Go(func() { _, _ = log.Append(context.Background(), newBatch(1)) })
	<-begun
	for _, b := range []eventstore.Batch{newBatch(1, eventstore.ClaimOp{Key: eventstore.ClaimKey{1}}), poison, newBatch(1)} {
		group.Go(func() {
			if _, err := log.Append(context.Background(), b); err == nil || errors.Is(err, eventstore.ErrOutcomeUnknown) {
				t.Errorf("append: %v, want a definite error", err)
			}
		})
	}
	waiting(log, 3)
	release()
	group.Wait()
	if last := mustAppend(t, log, newBatch(1)); last != 2 {
		t.Errorf("the next record is at %d, not 2", last)
	}
	log = reopen(t, log)
	audit(t, log, 2)
	if holder, err := log.Holder(t.Context(), eventstore.ClaimKey{1}); err != nil || holder != "" {
		t.Errorf("a claim that was rolled back is held by %q, %v", holder, err)
	}
}

func TestOnlyAWaitingAppendEndsWithItsContext(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	begun, release := held(log)
	defer release()
	taken, endTaken := context.WithCancel(t.Context())
	queued, endQueued := context.WithCancel(t.Context())
	results := make(chan error, 2)
	appendIn := func(ctx context.Context) {
		_, err := log.Append(ctx, newBatch(1))
		results <- err
	}
	go appendIn(taken)
	<-begun
	go appendIn(queued)
	waiting(log, 1)
	endTaken()
	endQueued()
	if err := <-results; !errors.Is(err, context.Canceled) || errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("an append that waited: %v, want the context's error", err)
	}
	release()
	if err := <-results; err != nil {
		t.Errorf("an append under way: %v, want its verdict", err)
	}
	audit(t, log, 1)
}

func TestCloseDrainsTheQueue(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	begun, release := held(log)
	const n = 50
	results := make(chan error, n)
	appendOne := func() {
		_, err := log.Append(context.Background(), newBatch(1))
		results <- err
	}
	go appendOne()
	<-begun
	for range n - 1 {
		go appendOne()
	}
	waiting(log, n-1)
	closed := make(chan error)
	go func() { closed <- log.Close() }()
	release()
	for range n {
		if err := <-results; err != nil {
			t.Errorf("an append under way at the close: %v", err)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	audit(t, open(t, log.path), n)
}
