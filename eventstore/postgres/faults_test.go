//go:build servers

package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// one is a batch of one record.
func one(stream events.Stream, expected uint64) eventstore.Batch {
	return eventstore.Batch{Stream: stream, Expected: expected, Records: []eventstore.Record{{
		Stream: stream, Version: expected + 1, ID: ulid.Make(), Type: "Tested.v1",
		Time: time.Now().UTC().Truncate(time.Millisecond), Metadata: []byte("m"), Data: []byte("d"),
	}}}
}

func openQuietly(t testing.TB, url string) *postgres.Log {
	t.Helper()
	log := openLog(t, postgres.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { log.Close() })
	return log
}

// appenders append to streams of their own, one record after the other, until stopped. Each append
// is waited for as long as it takes, so all of them are acknowledged.
type appenders struct {
	mu    sync.Mutex
	acked map[events.Stream][]ulid.ULID
	errs  []error
	stop  chan struct{}
	all   sync.WaitGroup
	count chan struct{} // gets an element for each acknowledged append, while there is space

	last  time.Time     // when the last append was acknowledged
	stall time.Duration // the longest time without an acknowledged append, since stalled
}

func appendTo(n int, logs ...*postgres.Log) *appenders {
	a := &appenders{acked: map[events.Stream][]ulid.ULID{}, stop: make(chan struct{}), count: make(chan struct{}, 1000)}
	for i := range n {
		log, stream := logs[i%len(logs)], events.AccountStream(ulid.Make())
		a.all.Go(func() {
			for version := uint64(0); ; version++ {
				select {
				case <-a.stop:
					return
				default:
				}
				b := one(stream, version)
				if _, err := log.Append(context.Background(), b); err != nil {
					a.mu.Lock()
					a.errs = append(a.errs, err)
					a.mu.Unlock()
					return
				}
				a.mu.Lock()
				a.acked[stream] = append(a.acked[stream], b.Records[0].ID)
				now := time.Now()
				if !a.last.IsZero() {
					a.stall = max(a.stall, now.Sub(a.last))
				}
				a.last = now
				a.mu.Unlock()
				select {
				case a.count <- struct{}{}:
				default:
				}
			}
		})
	}
	return a
}

// stalled returns the longest time without an acknowledged append since the last call.
func (a *appenders) stalled() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.stall = 0 }()
	return a.stall
}

// await waits for n more acknowledged appends.
func (a *appenders) await(t *testing.T, n int) {
	t.Helper()
	for len(a.count) > 0 { // of before the call
		<-a.count
	}
	for range n {
		select {
		case <-a.count:
		case <-time.After(60 * time.Second):
			a.mu.Lock()
			defer a.mu.Unlock()
			t.Fatalf("appends are not acknowledged; errors so far: %v", a.errs)
		}
	}
}

// check ends the appends and expects each log to have what was acknowledged, once and in order, and
// nothing else.
func (a *appenders) check(t *testing.T, logs ...*postgres.Log) {
	t.Helper()
	close(a.stop)
	a.all.Wait()
	for _, err := range a.errs {
		t.Errorf("append: %v", err)
	}
	total := 0
	for _, ids := range a.acked {
		total += len(ids)
	}
	for i, log := range logs {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		head, err := log.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if head != uint64(total) {
			t.Errorf("log %d ends at position %d after %d acknowledged appends", i, head, total)
		}
		found := map[events.Stream][]ulid.ULID{}
		for after := uint64(0); after < head; {
			if err := log.Wait(ctx, after); err != nil {
				t.Fatal(err)
			}
			page, err := log.ReadAll(ctx, after, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				if r.Position != after+1 {
					t.Fatalf("position %d follows %d", r.Position, after)
				}
				after = r.Position
				found[r.Stream] = append(found[r.Stream], r.ID)
			}
		}
		for stream, ids := range a.acked {
			if fmt.Sprint(found[stream]) != fmt.Sprint(ids) {
				t.Errorf("log %d has %d records of %s, %d were acknowledged, or they are others", i, len(found[stream]), stream, len(ids))
			}
		}
	}
	t.Logf("%d appends were acknowledged", total)
}

// committed is how the server says that a turn with records was committed.
func committed(answer []byte) bool {
	return bytes.Contains(answer, []byte("INSERT 0 ")) && bytes.Contains(answer, []byte("COMMIT\x00"))
}

func TestAppendsWhoseAnswerIsCutAreStoredOnce(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	url := primary.Database(t)
	direct := openQuietly(t, url)
	proxy := postgrestest.NewProxy(t, primary.Port)
	through := openQuietly(t, proxy.Through(t, url))
	a := appendTo(8, through, direct)
	a.await(t, 100)
	var mu sync.Mutex
	answers := 0
	proxy.CutAnswers(func(answer []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if committed(answer) {
			answers++
		}
		return committed(answer) && answers%5 == 0
	})
	a.await(t, 500)
	proxy.CutAnswers(func([]byte) bool { return false })
	a.check(t, through, direct)
	if answers < 20 {
		t.Errorf("only %d answers to COMMIT were seen", answers)
	}
}

// An attempt that fails for good says nothing about an earlier one that got no answer.
func TestAppendThatMayBeStoredIsNotAnsweredWithALaterError(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	proxy := postgrestest.NewProxy(t, primary.Port)
	log := openLog(t, postgres.Config{URL: proxy.Through(t, url), Unreplicated: true, Log: slog.New(slog.DiscardHandler)})
	defer log.Close()
	proxy.CutAnswers(func(answer []byte) bool {
		cut := committed(answer)
		if cut {
			primary.ExecIn(t, url, "ALTER TABLE log.claims RENAME TO renamed")
		}
		return cut
	})
	b := one(events.AccountStream(ulid.Make()), 0)
	b.Claims = []eventstore.ClaimOp{{}}
	if _, err := log.Append(t.Context(), b); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("an append that is stored was answered with %v", err)
	}
	if records, err := log.ReadStream(t.Context(), b.Stream, 0, 10); len(records) != 1 || err != nil {
		t.Errorf("the log has %v, %v", records, err)
	}
}

func TestRowThatCannotBeLockedIsReported(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	var told bytes.Buffer
	log := openLog(t, postgres.Config{URL: url, Unreplicated: true, Log: slog.New(slog.NewTextHandler(&told, nil))})
	primary.ExecIn(t, url, "ALTER TABLE log.head RENAME TO renamed")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	b := one(events.AccountStream(ulid.Make()), 0)
	if _, err := log.Append(ctx, b); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an append was answered with %v", err)
	}
	primary.ExecIn(t, url, "ALTER TABLE log.renamed RENAME TO head")
	if _, err := log.Append(t.Context(), b); err != nil {
		t.Error(err)
	}
	log.Close()
	if !strings.Contains(told.String(), "the log cannot be appended to") {
		t.Errorf("konto says %q", told.String())
	}
}

// failover is a primary whose standby gets nothing any more, a log, and an append that the primary
// has committed and no standby has.
type failover struct {
	primary, standby *postgrestest.Server
	replication      *postgrestest.Proxy
	log              *postgres.Log
	url              string // of the primary
	appended         chan error
	batch            eventstore.Batch
}

func unreplicated(t *testing.T) *failover {
	t.Helper()
	f := &failover{primary: postgrestest.Primary(t), appended: make(chan error, 1)}
	f.standby, f.replication = f.primary.Standby(t, "standby")
	f.url = f.primary.Database(t)
	both := strings.Replace(f.url, fmt.Sprint(f.primary.Port), fmt.Sprintf("%d,127.0.0.1:%d", f.primary.Port, f.standby.Port), 1)
	f.log = openQuietly(t, both)
	if _, err := f.log.Append(t.Context(), one(events.AccountStream(ulid.Make()), 0)); err != nil {
		t.Fatal(err)
	}
	f.replication.Drop(true)
	f.batch = one(events.AccountStream(ulid.Make()), 0)
	go func() {
		_, err := f.log.Append(context.Background(), f.batch)
		f.appended <- err
	}()
	f.primary.Await(t, f.url, "SELECT position = 2 FROM log.head")
	return f
}

// lose makes the standby the primary, without what it did not get, and gives it a standby.
func (f *failover) lose(t *testing.T) {
	t.Helper()
	f.primary.Kill(t)
	f.replication.Break()
	f.standby.Promote(t)
	f.standby.Standby(t, "standby2")
}

// isStored expects the append to be acknowledged in the end, and then to be in the log.
func (f *failover) isStored(t *testing.T) {
	t.Helper()
	if err := <-f.appended; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	records, err := f.log.ReadStream(ctx, f.batch.Stream, 0, 10)
	if err != nil || len(records) != 1 || records[0].ID != f.batch.Records[0].ID {
		t.Errorf("an acknowledged append is not in the log after a failover: %v, %v", records, err)
	}
}

func TestAppendThatNoStandbyHasIsAppendedAgainAfterAFailover(t *testing.T) {
	f := unreplicated(t)
	f.lose(t)
	f.isStored(t)
}

func TestAppendIsNotAcknowledgedWhenTheServerStopsWaitingForStandbys(t *testing.T) {
	f := unreplicated(t)
	// Who waits for a standby is released, with success.
	f.primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = ''")
	f.primary.Exec(t, "SELECT pg_reload_conf()")
	f.primary.Await(t, f.primary.URL(), "SELECT current_setting('synchronous_standby_names') = ''")
	f.awaitBarriers(t)
	f.lose(t)
	f.isStored(t)
}

func TestAppendIsNotAcknowledgedWhenTheWaitForStandbysIsCancelled(t *testing.T) {
	for _, how := range []string{"pg_cancel_backend", "pg_terminate_backend"} {
		t.Run(how, func(t *testing.T) {
			f := unreplicated(t)
			f.primary.Await(t, f.primary.URL(), "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			f.primary.Exec(t, "SELECT "+how+"(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			f.awaitBarriers(t)
			f.lose(t)
			f.isStored(t)
		})
	}
}

func TestPrimaryThatLacksWhatWasAcknowledgedIsRefused(t *testing.T) {
	primary := postgrestest.Primary(t)
	behind, replication := primary.Standby(t, "behind")
	primary.Standby(t, "ahead")
	url := primary.Database(t)
	log := openQuietly(t, strings.Replace(url, fmt.Sprint(primary.Port), fmt.Sprintf("%d,127.0.0.1:%d", primary.Port, behind.Port), 1))
	stream := events.AccountStream(ulid.Make())
	if _, err := log.Append(t.Context(), one(stream, 0)); err != nil {
		t.Fatal(err)
	}
	replication.Drop(true)
	if _, err := log.Append(t.Context(), one(stream, 1)); err != nil {
		t.Fatal(err)
	}
	primary.Kill(t)
	replication.Break()
	behind.Promote(t)
	behind.Standby(t, "next")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := log.Append(ctx, one(events.AccountStream(ulid.Make()), 0))
	if !errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "was acknowledged") {
		t.Errorf("an append to it was answered with %v", err)
	}
}

func TestStandbyThatDivergedConfirmsNothing(t *testing.T) {
	f := unreplicated(t)
	f.primary.Exec(t, "SELECT pg_logical_emit_message(true, '', repeat('x', 1000000))")
	f.primary.Kill(t)
	f.replication.Break()
	f.standby.Promote(t)
	f.standby.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = '*'")
	f.standby.Exec(t, "SELECT pg_reload_conf()")
	f.standby.Await(t, f.standby.URL(), "SELECT current_setting('synchronous_standby_names') = '*'")
	// The former primary says that it has the log up to a place that the new one has not come to.
	f.primary.Rejoin(t, f.standby)
	f.standby.Await(t, f.standby.URL(), "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn > pg_current_wal_lsn()")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := f.log.Append(ctx, one(events.AccountStream(ulid.Make()), 0)); !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("an append that no standby has was answered with %v", err)
	}
	f.primary.Kill(t)
	f.standby.Standby(t, "standby2")
	f.isStored(t)
}

func TestReadWaitsForTheStandby(t *testing.T) {
	f := unreplicated(t)
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan []eventstore.Record, 1)
	go func() {
		records, err := f.log.ReadStream(ctx, f.batch.Stream, 0, 10)
		if err != nil {
			records = nil
		}
		read <- records
	}()
	f.awaitBarriers(t)
	cancel()
	if records := <-read; len(records) > 0 {
		t.Error("a record was read that no standby has")
	}
	if f.log.FeedEnd() != 1 {
		t.Error("the feed has a record that no standby has")
	}
	f.replication.Break() // the standby connects again and gets everything
	f.replication.Drop(false)
	f.isStored(t)
}

func TestFeedWaitsForTheStandbyBeforeItHasWhatAnotherNodeAppended(t *testing.T) {
	primary := postgrestest.Primary(t)
	_, replication := primary.Standby(t, "standby")
	url := primary.Database(t)
	log, other := openQuietly(t, url), openQuietly(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := log.Append(ctx, one(events.AccountStream(ulid.Make()), 0)); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(ctx, 0); err != nil {
		t.Fatal(err)
	}
	replication.Drop(true)
	go log.Append(ctx, one(events.AccountStream(ulid.Make()), 0))
	// One barrier is the append's, another one is that of the other node's feed.
	primary.Await(t, url, "SELECT count(*) > 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	if end := other.FeedEnd(); end != 1 {
		t.Errorf("the feed ends at position %d, which no standby has", end)
	}
	replication.Break() // the standby connects again and gets everything
	replication.Drop(false)
	if err := other.Wait(ctx, 1); err != nil {
		t.Error(err)
	}
}

// awaitBarriers waits until a barrier that was begun after the call waits for a standby.
func (f *failover) awaitBarriers(t *testing.T) {
	t.Helper()
	f.primary.Await(t, f.primary.URL(), `SELECT count(*) > 0 FROM pg_stat_activity
		WHERE (wait_event = 'SyncRep' OR query LIKE '%konto.barrier%') AND query_start > now() - interval '1 minute'`)
}

func TestFailoverUnderLoadLosesNothing(t *testing.T) {
	primary := postgrestest.Primary(t)
	a, _ := primary.Standby(t, "a")
	url := primary.Database(t)
	both := strings.Replace(url, fmt.Sprint(primary.Port), fmt.Sprintf("%d,127.0.0.1:%d", primary.Port, a.Port), 1)
	logs := []*postgres.Log{openQuietly(t, both), openQuietly(t, both), openQuietly(t, both)}
	load := appendTo(24, logs...)
	load.await(t, 500)
	primary.Kill(t)
	a.Promote(t)
	a.Standby(t, "b")
	load.await(t, 500)
	load.check(t, logs...)
}

// A primary that hangs acknowledges bytes and answers nothing.
func TestPrimaryThatHangsIsLeftWhenAnotherIsPromoted(t *testing.T) {
	primary := postgrestest.Primary(t)
	standby, replication := primary.Standby(t, "standby")
	url := primary.Database(t)
	both := strings.Replace(url, fmt.Sprint(primary.Port), fmt.Sprintf("%d,127.0.0.1:%d", primary.Port, standby.Port), 1)
	logs := []*postgres.Log{openQuietly(t, both), openQuietly(t, both)}
	load := appendTo(8, logs...)
	load.await(t, 100)
	primary.Signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { primary.Signal(t, syscall.SIGCONT) })
	replication.Break()
	standby.Promote(t)
	standby.Standby(t, "next")
	load.await(t, 100)
	load.check(t, logs...)
}

func TestServersThatLoseDataAreRefused(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	for _, c := range []struct{ setting, refused string }{
		{"", "set synchronous_standby_names"},
		{"synchronous_standby_names = 'a'", "no synchronous standby is connected"},
		{"full_page_writes = off", "full_page_writes = off"},
		{"fsync = off", "fsync = off"},
	} {
		if c.setting != "" {
			primary.Exec(t, "ALTER SYSTEM SET "+c.setting)
			primary.Exec(t, "SELECT pg_reload_conf()")
			name, _, _ := strings.Cut(c.setting, " ")
			primary.Await(t, primary.URL(), "SELECT setting = boot_val IS FALSE FROM pg_settings WHERE name = '"+name+"'")
		}
		if _, err := postgres.Open(t.Context(), postgres.Config{URL: url}); err == nil || !strings.Contains(err.Error(), c.refused) {
			t.Errorf("with %q the answer was: %v", c.setting, err)
		}
	}
}

func TestStandbyIsRefused(t *testing.T) {
	primary := postgrestest.Primary(t)
	standby, _ := primary.Standby(t, "standby")
	if _, err := postgres.Open(t.Context(), postgres.Config{URL: standby.URL()}); err == nil {
		t.Error("a standby was opened")
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	log := openLog(t, postgres.Config{URL: url, Unreplicated: true})
	log.Close()
	primary.ExecIn(t, url, "INSERT INTO log.schema_version (version_id, is_applied) VALUES (999, true)")
	if _, err := postgres.Open(t.Context(), postgres.Config{URL: url, Unreplicated: true}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a newer schema was answered with %v", err)
	}
}

func TestEventsAreAppendOnly(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	log := openLog(t, postgres.Config{URL: url, Unreplicated: true})
	defer log.Close()
	if _, err := log.Append(t.Context(), one(events.AccountStream(ulid.Make()), 0)); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"UPDATE log.events SET type = 'x'", "DELETE FROM log.events", "TRUNCATE log.events"} {
		if err := primary.Try(t, url, statement); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s was answered with %v", statement, err)
		}
	}
}
