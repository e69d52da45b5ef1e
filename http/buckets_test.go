package http

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memoryBuckets are buckets in memory that do not refill. spoil, if it is set, runs before each
// Take and replaces it if it fails.
type memoryBuckets struct {
	mu    sync.Mutex
	spent map[string]int
	takes int
	spoil func(ctx context.Context) error
}

func (b *memoryBuckets) Take(ctx context.Context, name string, key []byte, most, burst int, _ float64) (int, float64, error) {
	b.mu.Lock()
	b.takes++
	spoil := b.spoil
	b.mu.Unlock()
	if spoil != nil {
		if err := spoil(ctx); err != nil {
			return 0, 0, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent == nil {
		b.spent = map[string]int{}
	}
	bucket := name + " " + string(key)
	taken := min(most, burst-b.spent[bucket])
	b.spent[bucket] += taken
	return taken, float64(burst - b.spent[bucket]), nil
}

// paid is how many of n requests at one time are in the limit.
func paid(l *limiter[string], key string, n int, at time.Time) (count int) {
	for range n {
		if l.spend(http.Header{}, key, 1, at) == nil {
			count++
		}
	}
	return count
}

func TestMostRequestsDoNotAskForTokens(t *testing.T) {
	buckets := &memoryBuckets{}
	limit := RateLimit{PerMinute: 60, Burst: 1000}
	a := newLimiter[string]("credential", limit).share(buckets)
	b := newLimiter[string]("credential", limit).share(buckets)
	if n := paid(a, "anna", 500, timeOfTest) + paid(b, "anna", 400, timeOfTest); n != 900 || buckets.takes != 9 {
		t.Errorf("%d were paid, and tokens were taken %d times", n, buckets.takes)
	}
	if n := paid(a, "anna", 500, timeOfTest); n != 100 || buckets.takes != 11 {
		t.Errorf("%d more were paid, and tokens were taken %d times", n, buckets.takes)
	}
	if n := paid(a, "bo", 1, timeOfTest); n != 1 {
		t.Error("another caller is limited")
	}
	if n := paid(newLimiter[string]("address", limit).share(buckets), "anna", 1, timeOfTest); n != 1 {
		t.Error("another limit is used up")
	}
	// A token comes back in a second. Until then nobody asks.
	before := buckets.takes
	paid(a, "anna", 10, timeOfTest.Add(999*time.Millisecond))
	if buckets.takes != before {
		t.Errorf("tokens were taken %d times", buckets.takes-before)
	}
	paid(a, "anna", 10, timeOfTest.Add(time.Second))
	if buckets.takes != before+1 {
		t.Errorf("after a second, tokens were taken %d times", buckets.takes-before)
	}
}

func TestRequestsOfOneCallerWaitForOneTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		buckets := &memoryBuckets{spoil: func(context.Context) error {
			<-answer
			return nil
		}}
		l := newLimiter[string]("credential", RateLimit{PerMinute: 600}).share(buckets)
		var count atomic.Int64
		for range 60 {
			go func() { count.Add(int64(paid(l, "anna", 1, timeOfTest))) }()
		}
		synctest.Wait()
		if buckets.takes != 1 || count.Load() != 0 {
			t.Errorf("tokens are taken %d times, %d requests did not wait", buckets.takes, count.Load())
		}
		close(answer)
		synctest.Wait()
		if n := count.Load(); buckets.takes != 1 || n != 60 {
			t.Errorf("%d of 60 were paid, tokens were taken %d times", n, buckets.takes)
		}
	})
}

func TestBucketThatDoesNotAnswerIsReplacedByOneInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		buckets := &memoryBuckets{}
		l := newLimiter[string]("credential", RateLimit{PerMinute: 1, Burst: 100}).share(buckets)
		paid(l, "anna", 1, time.Now())
		buckets.spoil = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		start := time.Now()
		if n := paid(l, "anna", 300, start); n != 109 { // 9 that were taken before
			t.Errorf("%d were paid", n)
		}
		if waited := time.Since(start); waited != takeTimeout || buckets.takes != 2 {
			t.Errorf("requests waited %s for %d Takes", waited, buckets.takes-1)
		}
		if paid(l, "anna", 1, start.Add(alonePause-1)); buckets.takes != 2 {
			t.Error("it is asked again within a second")
		}
		buckets.spoil = nil
		if n := paid(l, "anna", 300, start.Add(alonePause)); n != 90 {
			t.Errorf("when it answers again, %d were paid", n)
		}
		if buckets.spoil = func(context.Context) error { return errors.New("refused") }; paid(l, "bo", 1, start) != 1 {
			t.Error("another caller is limited")
		}
	})
}

func TestHeadersSayWhatAllNodesHaveLeft(t *testing.T) {
	buckets := &memoryBuckets{}
	limit := RateLimit{PerMinute: 60, Burst: 20}
	a := newLimiter[string]("credential", limit).share(buckets)
	b := newLimiter[string]("credential", limit).share(buckets)
	for i, test := range []struct {
		on         *limiter[string]
		after      time.Duration // since the first request
		cost       int
		remaining  string
		reset      string
		retryAfter string
	}{
		{a, 0, 1, "19", "1", ""},
		{b, 0, 3, "15", "5", ""},               // does not know of the token that a has
		{a, 0, 1, "18", "2", ""},               // does not know of b's
		{a, 3 * time.Second, 1, "14", "6", ""}, // takes again, and learns of b's
		{a, 4 * time.Second, 1, "14", "6", ""}, // one came back meanwhile
		{a, 4 * time.Second, 16, "13", "7", "3"},
		{b, 4 * time.Second, 2, "0", "20", "2"},
		{b, 5 * time.Second, 2, "1", "19", "1"},
	} {
		h := http.Header{}
		err := test.on.spend(h, "anna", test.cost, timeOfTest.Add(test.after))
		if errors.Is(err, errRateLimited) != (test.retryAfter != "") {
			t.Errorf("%d: %v", i, err)
		}
		want := `"credential";r=` + test.remaining + ";t=" + test.reset
		if h.Get("RateLimit") != want || h.Get("X-RateLimit-Remaining") != test.remaining || h.Get("Retry-After") != test.retryAfter {
			t.Errorf("%d: %s, %s, Retry-After %s, want %s", i, h.Get("RateLimit"), h.Get("X-RateLimit-Remaining"), h.Get("Retry-After"), want)
		}
	}
}
