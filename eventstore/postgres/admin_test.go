//go:build servers

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// alone returns a log in a new database of a server without a standby.
func alone(t *testing.T, primary *postgrestest.Server) (log *postgres.Log, url string) {
	t.Helper()
	url = primary.Database(t)
	log = openLog(t, postgres.Config{URL: url, Unreplicated: true, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { log.Close() })
	return log, url
}

// TestAdminLog has rules that are those of Postgres. A server is slow to start, so they share one.
func TestAdminLog(t *testing.T) {
	primary := postgrestest.Primary(t)
	for name, test := range map[string]func(*testing.T, *postgrestest.Server){
		"ManyBatchesHaveNothingOfOtherNodesInBetween": manyBatchesHaveNothingOfOtherNodesInBetween,
		"ManyBatchesWhoseAnswerIsCutAreStoredOnce":    manyBatchesWhoseAnswerIsCutAreStoredOnce,
		"ManyBatchesEndWithTheirContext":              manyBatchesEndWithTheirContext,
		"CheckStorageFindsWhatWasChanged":             checkStorageFindsWhatWasChanged,
		"CheckChainFindsWrongVersions":                checkChainFindsWrongVersions,
		"CheckChainComparesTheHead":                   checkChainComparesTheHead,
		"PagesThatPostgresCannotReadAreDamage":        pagesThatPostgresCannotReadAreDamage,
		"NewestStreamsAreFoundByTheIndex":             newestStreamsAreFoundByTheIndex,
		"DamagedLogIsNotCopied":                       damagedLogIsNotCopied,
	} {
		t.Run(name, func(t *testing.T) { test(t, primary) })
	}
}

func many(n int) (batches []eventstore.Batch) {
	for range n {
		batches = append(batches, one(events.AccountStream(ulid.Make()), 0))
	}
	return batches
}

// expectAll expects batches at the positions up to last.
func expectAll(t *testing.T, log *postgres.Log, batches []eventstore.Batch, last uint64) {
	t.Helper()
	first := last - uint64(len(batches))
	if err := log.Wait(t.Context(), last-1); err != nil { // for what other nodes appended before
		t.Fatal(err)
	}
	records, err := log.ReadAll(t.Context(), first, len(batches))
	if err != nil || len(records) != len(batches) {
		t.Fatalf("%d records, %v; want %d", len(records), err, len(batches))
	}
	for i, r := range records {
		if r.ID != batches[i].Records[0].ID {
			t.Fatalf("position %d has another record than that of batch %d", r.Position, i+1)
		}
	}
}

func manyBatchesHaveNothingOfOtherNodesInBetween(t *testing.T, primary *postgrestest.Server) {
	log, url := alone(t, primary)
	other := openLog(t, postgres.Config{URL: url, Unreplicated: true})
	defer other.Close()
	a := appendTo(8, other)
	a.await(t, 20)
	for range 3 {
		batches := many(3000)
		last, err := log.AppendAll(t.Context(), batches)
		if err != nil {
			t.Fatal(err)
		}
		expectAll(t, log, batches, last)
	}
	close(a.stop)
	a.all.Wait()
}

func manyBatchesWhoseAnswerIsCutAreStoredOnce(t *testing.T, primary *postgrestest.Server) {
	_, url := alone(t, primary)
	proxy := postgrestest.NewProxy(t, primary.Port)
	log := openLog(t, postgres.Config{URL: proxy.Through(t, url), Unreplicated: true})
	defer log.Close()
	var mu sync.Mutex
	cuts := 0
	proxy.CutAnswers(func(answer []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if cuts < 2 && committed(answer) {
			cuts++
			return true
		}
		return false
	})
	batches := many(1500)
	last, err := log.AppendAll(t.Context(), batches)
	if err != nil || last != 1500 {
		t.Fatalf("position %d, %v", last, err)
	}
	if cuts == 0 {
		t.Error("no answer was cut")
	}
	expectAll(t, log, batches, last)
	if head, err := log.Head(t.Context()); err != nil || head != last {
		t.Errorf("the log ends at %d, %v", head, err)
	}
}

func manyBatchesEndWithTheirContext(t *testing.T, primary *postgrestest.Server) {
	log, url := alone(t, primary)
	holder, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(context.Background())
	if _, err := holder.Exec(t.Context(), `BEGIN; SELECT FROM log.head FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := log.AppendAll(ctx, many(10))
		ended <- err
	}()
	primary.Await(t, url, `SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("%v, want that nothing was stored", err)
	}
	if _, err := holder.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if last, err := log.Append(t.Context(), one(events.AccountStream(ulid.Make()), 0)); err != nil || last != 1 {
		t.Errorf("the next append got position %d, %v", last, err)
	}
}

func TestManyBatchesThatNoStandbyHasAreUnknown(t *testing.T) {
	f := unreplicated(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := f.log.AppendAll(ctx, many(10))
		ended <- err
	}()
	f.primary.Await(t, f.url, "SELECT position = 12 FROM log.head")
	cancel()
	if err := <-ended; !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("%v, want that the outcome is unknown", err)
	}
	f.replication.Break()
	f.replication.Drop(false)
	f.isStored(t)
}

func checkStorageFindsWhatWasChanged(t *testing.T, primary *postgrestest.Server) {
	log, url := alone(t, primary)
	if err := log.CheckStorage(t.Context()); err != nil {
		t.Fatalf("an intact log: %v", err)
	}
	for _, change := range [][2]string{
		{`ALTER TABLE log.events DISABLE TRIGGER USER`, `ALTER TABLE log.events ENABLE TRIGGER USER`},
		{`INSERT INTO log.schema_version (version_id, is_applied) VALUES (999, true)`, `DELETE FROM log.schema_version WHERE version_id = 999`},
		{`ALTER TABLE log.claims DROP CONSTRAINT claims_pkey`, `ALTER TABLE log.claims ADD PRIMARY KEY (key, stream)`},
		{`ALTER TABLE log.events DROP CONSTRAINT events_stream_version_key`, `ALTER TABLE log.events ADD UNIQUE (stream, version)`},
		{`UPDATE log.meta SET id = 'short'`, `UPDATE log.meta SET id = decode(repeat('00', 16), 'hex')`},
		{`DROP TRIGGER events_are_append_only ON log.events;
			CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE ON log.events EXECUTE FUNCTION log.refuse()`,
			`DROP TRIGGER events_are_append_only ON log.events;
			CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log.events EXECUTE FUNCTION log.refuse()`},
	} {
		primary.ExecIn(t, url, change[0])
		if err := log.CheckStorage(t.Context()); !errors.Is(err, postgres.ErrOtherSchema) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", change[0], err)
		}
		primary.ExecIn(t, url, change[1])
		if err := log.CheckStorage(t.Context()); err != nil {
			t.Fatalf("%s: %v", change[1], err)
		}
	}
}

// forge appends a record as a writer would that does not check versions. Its hash fits.
func forge(t *testing.T, primary *postgrestest.Server, url string, last eventstore.Extent, r eventstore.Record) eventstore.Extent {
	t.Helper()
	r.Position = last.Position + 1
	last.Position, last.Chain = r.Position, eventstore.ChainHash(last.Chain, r)
	primary.ExecIn(t, url, fmt.Sprintf(`INSERT INTO log.events (position, stream, version, id, type, time, metadata, data, hash)
		VALUES (%d, '%s', %d, '\x%x', '%s', %d, '\x%x', '\x%x', '\x%x'); UPDATE log.head SET position = %d, hash = '\x%x'`,
		r.Position, r.Stream, r.Version, r.ID[:], r.Type, r.Time.UnixMilli(), r.Metadata, r.Data, last.Chain, r.Position, last.Chain))
	return last
}

func checkChainFindsWrongVersions(t *testing.T, primary *postgrestest.Server) {
	log, url := alone(t, primary)
	if _, err := log.AppendAll(t.Context(), many(3)); err != nil {
		t.Fatal(err)
	}
	end, err := log.Extent(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	stream := events.AccountStream(ulid.Make())
	for _, version := range []uint64{0, 1} {
		end = forge(t, primary, url, end, one(stream, version).Records[0])
	}
	if err := log.CheckChain(t.Context(), nil); err != nil {
		t.Fatalf("versions in order: %v", err)
	}
	forge(t, primary, url, end, one(stream, 3).Records[0])
	var broken *eventstore.ChainError
	if err := log.CheckChain(t.Context(), nil); !errors.As(err, &broken) || broken.Position != 6 {
		t.Errorf("%v, want a wrong version at position 6", err)
	}
}

func checkChainComparesTheHead(t *testing.T, primary *postgrestest.Server) {
	log, url := alone(t, primary)
	if _, err := log.AppendAll(t.Context(), many(3)); err != nil {
		t.Fatal(err)
	}
	primary.ExecIn(t, url, `UPDATE log.head SET hash = decode(repeat('00', 32), 'hex')`)
	for name, err := range map[string]error{"chain": log.CheckChain(t.Context(), nil), "end": log.CheckEnd(t.Context(), 2)} {
		var broken *eventstore.ChainError
		if !errors.As(err, &broken) || broken.Position != 3 {
			t.Errorf("%s: %v, want a wrong hash at position 3", name, err)
		}
	}
}

// pagesThatPostgresCannotReadAreDamage lets Postgres report a damaged page.
func pagesThatPostgresCannotReadAreDamage(t *testing.T, primary *postgrestest.Server) {
	log, url := alone(t, primary)
	if _, err := log.AppendAll(t.Context(), many(9)); err != nil {
		t.Fatal(err)
	}
	primary.ExecIn(t, url, `CREATE FUNCTION log.damaged() RETURNS bytea LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'invalid page in block 0' USING ERRCODE = 'XX001'; END $$;
		ALTER TABLE log.events RENAME TO intact;
		CREATE VIEW log.events AS SELECT position, stream, version, id, type, time, metadata,
			CASE WHEN position < 5 THEN data ELSE log.damaged() END AS data, hash FROM log.intact`)
	var broken *eventstore.ChainError
	if err := log.CheckChain(t.Context(), nil); !errors.As(err, &broken) || !errors.Is(err, postgres.ErrCorrupt) || broken.Position < 1 || broken.Position > 5 {
		t.Errorf("%v, want the position that cannot be read", err)
	}
}

// newestStreamsAreFoundByTheIndex: the cost must not depend on the length of the log.
func newestStreamsAreFoundByTheIndex(t *testing.T, primary *postgrestest.Server) {
	log, url := alone(t, primary)
	for range 10 {
		if _, err := log.AppendAll(t.Context(), many(1000)); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `ANALYZE log.events`); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `EXPLAIN `+postgres.NewestStreamsQuery, "account-", "account-[", 100)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(plan, "\n")
	if strings.Contains(text, "Seq Scan") || strings.Count(text, "Backward using events_stream_version_key") != 2 {
		t.Errorf("the plan is\n%s", text)
	}
}

func damagedLogIsNotCopied(t *testing.T, primary *postgrestest.Server) {
	log, url := alone(t, primary)
	batches := many(5)
	if _, err := log.AppendAll(t.Context(), batches); err != nil {
		t.Fatal(err)
	}
	changed := batches[2].Records[0]
	changed.Type = "Tested.v2"
	for _, r := range []*eventstore.Record{&changed, nil} {
		if err := change(t.Context(), url, 3, r); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "copy.db")
		var broken *eventstore.ChainError
		if err := log.Copy(t.Context(), to); !errors.As(err, &broken) {
			t.Errorf("it was copied: %v", err)
		}
		if entries, err := os.ReadDir(filepath.Dir(to)); err != nil || len(entries) != 0 {
			t.Errorf("%v are left, %v", entries, err)
		}
	}
}
