//go:build servers

package http

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// sharedLimiters are the limiters of two nodes with one Postgres. They wait as long as it takes,
// so that a slow machine does not make them limit alone.
func sharedLimiters(t *testing.T, primary *postgrestest.Server, limit RateLimit) (nodes [2]*limiter[string]) {
	t.Helper()
	for i := range nodes {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: primary.URL(), Unreplicated: true, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		nodes[i] = newLimiter[string]("credential", limit).share(postgres.NewLimits(db, []byte("secret")))
		nodes[i].shared.timeout = time.Minute
	}
	return nodes
}

func TestNodesShareABurst(t *testing.T) {
	primary := postgrestest.Primary(t)
	const burst = 100
	nodes := sharedLimiters(t, primary, RateLimit{PerMinute: 1, Burst: burst}) // nothing comes back while the test runs
	both := func(at time.Time) int {
		var count atomic.Int64
		together(4, func(i int) bool {
			count.Add(int64(paid(nodes[i%2], "anna", burst, at)))
			return true
		})
		return int(count.Load())
	}
	if n := both(timeOfTest); n != burst {
		t.Errorf("%d were paid", n)
	}
	// Postgres counts by its own clock, and the nodes do not ask it earlier than needed.
	primary.Exec(t, "UPDATE cluster.bucket SET at = at - interval '12 min'")
	if n := both(timeOfTest); n != 0 {
		t.Errorf("%d were paid at the same time", n)
	}
	if n := both(timeOfTest.Add(12 * time.Minute)); n != 12 {
		t.Errorf("%d were paid 12 minutes later", n)
	}
}

func TestNodeKeepsNoMoreThanATenthOfABurst(t *testing.T) {
	primary := postgrestest.Primary(t)
	const burst = 100
	nodes := sharedLimiters(t, primary, RateLimit{PerMinute: 1, Burst: burst})
	if n := paid(nodes[0], "anna", 1, timeOfTest); n != 1 {
		t.Fatal("the first request was refused")
	}
	primary.Exec(t, "UPDATE cluster.bucket SET at = at - interval '1 h 40 min'") // it is full again
	if n := paid(nodes[1], "anna", 2*burst, timeOfTest); n != burst {
		t.Errorf("%d of the other node's were paid", n)
	}
	if n := paid(nodes[0], "anna", 2*burst, timeOfTest); n != burst/10-1 {
		t.Errorf("then %d were paid", n)
	}
}

func TestEachNodeLimitsAloneWithoutPostgres(t *testing.T) {
	primary := postgrestest.Primary(t)
	const burst = 100
	nodes := sharedLimiters(t, primary, RateLimit{PerMinute: 1, Burst: burst})
	paid(nodes[0], "anna", burst, timeOfTest)
	primary.Kill(t)
	at := timeOfTest.Add(time.Minute)
	for i, n := range nodes {
		if n := paid(n, "anna", 3*burst, at); n != burst {
			t.Errorf("node %d served %d", i, n)
		}
	}
	primary.Start(t) // its buckets are full: after a crash the table is empty
	left := fmt.Sprintf(`"credential";r=%d;`, burst-1)
	for i := range 100 {
		h := http.Header{}
		if err := nodes[0].spend(h, "anna", 1, at.Add(time.Duration(i)*alonePause)); err == nil && strings.HasPrefix(h.Get("RateLimit"), left) {
			return
		}
	}
	t.Error("the node does not ask Postgres again")
}
