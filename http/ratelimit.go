package http

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"konto/commands"
)

// RateLimit is how many requests one credential may make. It also applies to one
// address, for requests without a valid credential. The zero value is no limit.
type RateLimit struct {
	PerMinute int // 1 to 10,000,000; 0 means no limit
	Burst     int // how many requests may come at once after a pause; 0 means PerMinute
}

// ParseRateLimit parses a limit such as "600/m", or "off" for no limit.
func ParseRateLimit(text string) (RateLimit, error) {
	if text == "off" {
		return RateLimit{}, nil
	}
	number, ok := strings.CutSuffix(text, "/m")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 || n > 10_000_000 {
		return RateLimit{}, fmt.Errorf("rate limit %q is neither N/m, with N from 1 to 10000000, nor off", text)
	}
	return RateLimit{PerMinute: n}, nil
}

const (
	// maxBuckets limits the memory of a limiter to about 10 MB. The least recently
	// used bucket is evicted first, and is full when it is made again.
	maxBuckets = 1 << 16
	// failureCost is how many requests a request without a valid credential
	// counts as, for its address.
	failureCost = 5
)

// limiter holds a token bucket for each key. A nil limiter allows everything.
type limiter[K comparable] struct {
	name    string // the policy's name
	policy  string // the header RateLimit-Policy
	rate    rate.Limit
	burst   int
	buckets *lru.Cache[K, *rate.Limiter]
	shared  *sharedBuckets[K] // replaces buckets, unless they cannot be asked; nil if there are none
}

func newLimiter[K comparable](name string, limit RateLimit) *limiter[K] {
	if limit.PerMinute == 0 {
		return nil
	}
	l := &limiter[K]{name: name, rate: rate.Limit(limit.PerMinute) / 60, burst: limit.Burst}
	if l.burst == 0 {
		l.burst = limit.PerMinute
	}
	l.policy = fmt.Sprintf("%q;q=%d;w=%d", name, l.burst, l.seconds(float64(l.burst)))
	l.buckets, _ = lru.New[K, *rate.Limiter](maxBuckets) // fails only for a size below 1
	return l
}

// share makes the limiter use buckets that several nodes share. It returns the limiter.
func (l *limiter[K]) share(buckets Buckets) *limiter[K] {
	if l != nil && buckets != nil {
		l.shared = newSharedBuckets[K](buckets, l.name, l.burst, float64(l.rate))
	}
	return l
}

// spend subtracts a cost from a key's bucket and sets headers that say what
// remains: those that most services send, and those of
// draft-ietf-httpapi-ratelimit-headers-11. Its error is errRateLimited.
func (l *limiter[K]) spend(h http.Header, key K, cost int, at time.Time) error {
	if l == nil {
		return nil
	}
	cost = min(cost, l.burst) // the bucket never holds more
	var paid, known bool
	var left float64
	if l.shared != nil {
		paid, left, known = l.shared.spend(key, cost, at)
	}
	if !known { // this node limits alone
		bucket := l.bucket(key)
		paid = bucket.AllowN(at, cost)
		left = max(bucket.TokensAt(at), 0)
	}
	setLimitHeaders(h, l.name, l.policy, l.burst, int(left), l.seconds(float64(l.burst)-left), at)
	if !paid {
		h.Set("Retry-After", strconv.Itoa(max(1, l.seconds(float64(cost)-left))))
		return errRateLimited
	}
	return nil
}

// setLimitHeaders says how much of a limit is left, and in how many seconds all of
// it is available again.
func setLimitHeaders(h http.Header, name, policy string, most, left, reset int, at time.Time) {
	remaining := strconv.Itoa(left)
	h.Set("X-RateLimit-Limit", strconv.Itoa(most))
	h.Set("X-RateLimit-Remaining", remaining)
	h.Set("X-RateLimit-Reset", at.Add(time.Duration(reset)*time.Second).UTC().Format(time.RFC3339))
	h.Set("RateLimit-Policy", policy)
	h.Set("RateLimit", `"`+name+`";r=`+remaining+`;t=`+strconv.Itoa(reset))
}

// setTooManyHeaders describes the limit that a command reached, in place of the
// limit on requests.
func setTooManyHeaders(h http.Header, e *commands.TooMany, at time.Time) {
	reset := int(math.Ceil(e.RetryAfter.Seconds()))
	policy := fmt.Sprintf("%q;q=%d;w=%d", e.Limit.Name, e.Limit.Most, int(e.Limit.Span.Seconds()))
	setLimitHeaders(h, e.Limit.Name, policy, e.Limit.Most, 0, reset, at)
	h.Set("Retry-After", strconv.Itoa(reset))
}

// bucket returns the bucket of a key, and makes it if it is not there.
func (l *limiter[K]) bucket(key K) *rate.Limiter {
	if b, ok := l.buckets.Get(key); ok {
		return b
	}
	b := rate.NewLimiter(l.rate, l.burst)
	if other, ok, _ := l.buckets.PeekOrAdd(key, b); ok {
		return other // another request was first
	}
	return b
}

// seconds is how long the bucket takes to get some tokens back, rounded up. It
// ignores the rounding error of floating-point arithmetic.
func (l *limiter[K]) seconds(tokens float64) int {
	return int(math.Ceil(tokens/float64(l.rate) - 1e-6))
}
