//go:build servers

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// nodesWithLimits makes the limits of two nodes on one database.
func nodesWithLimits(t *testing.T, s *postgrestest.Server) (url string, nodes [2]*postgres.Limits) {
	t.Helper()
	url = s.Database(t)
	for i := range nodes {
		nodes[i] = postgres.NewLimits(openDatabase(t, url), []byte("secret"))
	}
	return url, nodes
}

// atOnce calls do n times at once and returns how often it returned true.
func atOnce(n int, do func(i int) bool) (count int) {
	results := make([]bool, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { results[i] = do(i) })
	}
	all.Wait()
	for _, r := range results {
		if r {
			count++
		}
	}
	return count
}

func TestNodesCountTogether(t *testing.T) {
	primary := postgrestest.Primary(t)
	url, nodes := nodesWithLimits(t, primary)
	ctx, key := t.Context(), []byte("anna")
	const most, span = 10, 10 * time.Minute
	add := func(i int) bool {
		before, lasts, err := nodes[i%2].Add(ctx, "passwords", key, most, span)
		if err != nil || before > most || lasts <= 0 || lasts > span+time.Minute {
			t.Errorf("%d, %s, %v", before, lasts, err)
		}
		return before < most
	}
	count := func(want int) {
		t.Helper()
		for _, n := range nodes {
			if times, lasts, err := n.Count(ctx, "passwords", key); times != want || (lasts > 0) != (want > 0) || err != nil {
				t.Errorf("counted %d for %s, want %d: %v", times, lasts, want, err)
			}
		}
	}
	count(0)
	if n := atOnce(20, add); n != most {
		t.Errorf("%d of 20 were added", n)
	}
	count(most)
	if err := nodes[1].Subtract(ctx, "passwords", key); err != nil {
		t.Fatal(err)
	}
	count(most - 1)
	if n := atOnce(4, add); n != 1 {
		t.Errorf("%d of 4 were added after one was subtracted", n)
	}
	if before, _, err := nodes[0].Add(ctx, "codes", key, most, span); before != 0 || err != nil {
		t.Errorf("the count of another name is %d: %v", before, err)
	}
	primary.ExecIn(t, url, "UPDATE cluster.guess SET until = until - interval '10 min'")
	count(0)
	if n := atOnce(20, add); n != most {
		t.Errorf("%d of 20 were added in the next span", n)
	}
}

func TestCountsDoNotFallBelowZero(t *testing.T) {
	_, nodes := nodesWithLimits(t, postgrestest.Primary(t))
	for range 2 {
		if err := nodes[0].Subtract(t.Context(), "passwords", []byte("anna")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := nodes[0].Add(t.Context(), "passwords", []byte("anna"), 10, time.Minute); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := nodes[0].Subtract(t.Context(), "passwords", []byte("anna")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if times, _, err := nodes[0].Count(t.Context(), "passwords", []byte("anna")); times != 0 || err != nil {
		t.Errorf("%d: %v", times, err)
	}
}

func TestNodesTakeFromOneBucket(t *testing.T) {
	primary := postgrestest.Primary(t)
	url, nodes := nodesWithLimits(t, primary)
	const burst, perSecond = 100, 0.001 // none come back while the test runs
	take := func(node, most int) (taken int, left float64) {
		t.Helper()
		taken, left, err := nodes[node].Take(t.Context(), "credential", []byte("anna"), most, burst, perSecond)
		if err != nil {
			t.Fatal(err)
		}
		return taken, left
	}
	if n := atOnce(30, func(i int) bool {
		taken, _, err := nodes[i%2].Take(t.Context(), "credential", []byte("anna"), 10, burst, perSecond)
		if err != nil || taken != 0 && taken != 10 {
			t.Errorf("took %d: %v", taken, err)
		}
		return taken == 10
	}); n != burst/10 {
		t.Errorf("10 tokens were taken %d times", n)
	}
	if taken, left := take(0, 10); taken != 0 || left >= 1 {
		t.Errorf("took %d, left %g", taken, left)
	}
	for _, tt := range []struct {
		seconds     int
		most, taken int
		left        float64
	}{
		{2500, 2, 2, 0.5},
		{2500, 10, 3, 0}, // 0.5 and 2.5
		{1500, 10, 1, 0.5},
		{1_000_000, 1, 1, 99},
		{0, 1000, 99, 0},
	} {
		primary.ExecIn(t, url, fmt.Sprintf("UPDATE cluster.bucket SET at = at - interval '%d s'", tt.seconds))
		// While the test runs, fewer than 0.4 tokens come back.
		if taken, left := take(1, tt.most); taken != tt.taken || math.Abs(left-tt.left) > 0.4 {
			t.Errorf("%d s later took %d of %d and left %g, want %d and %g", tt.seconds, taken, tt.most, left, tt.taken, tt.left)
		}
	}
}

func TestExpiredLimitsAreDeleted(t *testing.T) {
	primary := postgrestest.Primary(t)
	url, nodes := nodesWithLimits(t, primary)
	// More than one transaction deletes.
	primary.ExecIn(t, url, `INSERT INTO cluster.guess SELECT int8send(n), 1, true, now() - interval '1 s' FROM generate_series(1, 2500) AS n`)
	primary.ExecIn(t, url, `INSERT INTO cluster.bucket SELECT int8send(n), 1, 1, now(), now() - interval '1 s' FROM generate_series(1, 1000) AS n`)
	if _, _, err := nodes[0].Add(t.Context(), "passwords", []byte("anna"), 10, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, _, err := nodes[0].Take(t.Context(), "credential", []byte("anna"), 10, 3600, 1); err != nil {
		t.Fatal(err)
	}
	var deleted [2]int64
	atOnce(2, func(i int) bool {
		var err error
		if deleted[i], err = nodes[i].DeleteExpired(t.Context()); err != nil {
			t.Error(err)
		}
		return true
	})
	if n := deleted[0] + deleted[1]; n != 3500 {
		t.Errorf("%d rows were deleted", n)
	}
	primary.Await(t, url, `SELECT (SELECT count(*) FROM cluster.guess) = 1 AND (SELECT count(*) FROM cluster.bucket) = 1`)
	if times, _, err := nodes[1].Count(t.Context(), "passwords", []byte("anna")); times != 1 || err != nil {
		t.Errorf("counted %d: %v", times, err)
	}
	// A bucket may be deleted once it is full again.
	primary.Await(t, url, `SELECT until BETWEEN at + interval '3599 s' AND at + interval '3601 s' FROM cluster.bucket`)
}

func TestTablesOfLimitsHoldNoKey(t *testing.T) {
	primary := postgrestest.Primary(t)
	url, nodes := nodesWithLimits(t, primary)
	for _, key := range []string{"192.0.2.7", "192.0.2.8"} {
		if _, _, err := nodes[0].Take(t.Context(), "address", []byte(key), 10, 100, 1); err != nil {
			t.Fatal(err)
		}
		if _, _, err := nodes[0].Add(t.Context(), "address", []byte(key), 10, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	primary.Await(t, url, `SELECT count(DISTINCT key) = 2 AND bool_and(length(key) = 32 AND position('192.0.2' IN encode(key, 'escape')) = 0)
		FROM (SELECT key FROM cluster.bucket UNION ALL SELECT key FROM cluster.guess) AS keys`)
	other := postgres.NewLimits(openDatabase(t, url), []byte("another secret"))
	if times, _, err := other.Count(t.Context(), "address", []byte("192.0.2.7")); times != 0 || err != nil {
		t.Errorf("with another secret the key is the same: %d, %v", times, err)
	}
}

// TestLimitsWaitForNoStandby checks that what is volatile goes on while nothing durable can.
func TestLimitsWaitForNoStandby(t *testing.T) {
	primary := postgrestest.Primary(t)
	_, proxy := primary.Standby(t, "standby")
	url := primary.Database(t)
	primary.ExecIn(t, url, "CREATE TABLE durable (n int)")
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	proxy.Drop(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := postgres.NewLimits(db, nil).Add(ctx, "passwords", []byte("anna"), 10, time.Hour); err != nil {
		t.Error(err)
	}
	// The same of a table that is not unlogged, whose commit would wait.
	if err := db.Volatile(ctx, func(b *pgx.Batch) { b.Queue("INSERT INTO public.durable VALUES (1)") }); err != nil {
		t.Error(err)
	}
	proxy.Drop(false)
	proxy.Break()
}

// TestLimitsStartAnewAfterACrash shows what an unlogged table costs.
func TestLimitsStartAnewAfterACrash(t *testing.T) {
	primary := postgrestest.Primary(t)
	_, nodes := nodesWithLimits(t, primary)
	add := func() (int, error) {
		before, _, err := nodes[0].Add(t.Context(), "passwords", []byte("anna"), 10, time.Hour)
		return before, err
	}
	for range 10 {
		if _, err := add(); err != nil {
			t.Fatal(err)
		}
	}
	primary.Kill(t)
	if _, err := add(); err == nil {
		t.Error("no error without a server")
	}
	primary.Start(t)
	before, err := add()
	for range 100 {
		if err == nil {
			break
		}
		before, err = add() // its old connections are broken
	}
	if before != 0 || err != nil {
		t.Errorf("after the crash the count is %d: %v", before, err)
	}
}

func TestLimitsLeaveConnectionsToOthers(t *testing.T) {
	limits := postgres.NewLimits(openDatabase(t, postgrestest.Primary(t).Database(t)), nil)
	begun, end := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for range postgres.LimitsAtOnce {
		all.Go(func() {
			if err := limits.Ask(t.Context(), func(*pgx.Batch) {
				begun <- struct{}{}
				<-end
			}); err != nil {
				t.Error(err)
			}
		})
		<-begun
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // a select takes any case that is ready
		if err := limits.Ask(left, func(*pgx.Batch) { t.Error("one more asks") }); !errors.Is(err, context.Canceled) {
			t.Errorf("one more ended with %v", err)
		}
	}
	close(end)
	all.Wait()
}
