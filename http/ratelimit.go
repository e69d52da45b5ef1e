package http

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/oklog/ulid/v2"
	"golang.org/x/time/rate"

	"konto/commands"
)

// RateLimit is how many requests one credential may make, and one address the
// requests of which name no valid credential. The zero value is no limit.
type RateLimit struct {
	PerMinute int // 1 to 10,000,000; 0: no limit
	Burst     int // requests at once after a pause; 0 means PerMinute
}

// ParseRateLimit reads "600/m", or "off" for no limit.
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
	// maxBuckets bounds the memory that buckets take, to about 10 MB a limiter.
	// The bucket that was unused for longest is forgotten first, and is then full.
	maxBuckets = 1 << 16
	// failurePrice is what a request without a valid credential costs its
	// address, in requests.
	failurePrice = 5
)

// limiter holds a token bucket for each key. Nil is no limit.
type limiter[K comparable] struct {
	name    string // of the policy
	policy  string // its RateLimit-Policy
	rate    rate.Limit
	burst   int
	buckets *lru.Cache[K, *rate.Limiter]
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

// spend takes a price from a key's bucket and tells in h what is left: in the
// headers that most services send, and in those of
// draft-ietf-httpapi-ratelimit-headers-11. Its error is errRateLimited.
func (l *limiter[K]) spend(h http.Header, key K, price int, at time.Time) error {
	if l == nil {
		return nil
	}
	price = min(price, l.burst) // a larger one would never be paid
	bucket := l.bucket(key)
	paid := bucket.AllowN(at, price)
	left := max(bucket.TokensAt(at), 0)
	tellLimit(h, l.name, l.policy, l.burst, int(left), l.seconds(float64(l.burst)-left), at)
	if !paid {
		h.Set("Retry-After", strconv.Itoa(max(1, l.seconds(float64(price)-left))))
		return errRateLimited
	}
	return nil
}

// tellLimit tells of a limit how much is left, and in how many seconds all of it is.
func tellLimit(h http.Header, name, policy string, most, left, reset int, at time.Time) {
	remaining := strconv.Itoa(left)
	h.Set("X-RateLimit-Limit", strconv.Itoa(most))
	h.Set("X-RateLimit-Remaining", remaining)
	h.Set("X-RateLimit-Reset", at.Add(time.Duration(reset)*time.Second).UTC().Format(time.RFC3339))
	h.Set("RateLimit-Policy", policy)
	h.Set("RateLimit", `"`+name+`";r=`+remaining+`;t=`+strconv.Itoa(reset))
}

// tellTooMany tells of the limit that a command met, in place of that on requests.
func tellTooMany(h http.Header, e *commands.TooMany, at time.Time) {
	reset := int(math.Ceil(e.RetryAfter.Seconds()))
	policy := fmt.Sprintf("%q;q=%d;w=%d", e.Limit.Name, e.Limit.Most, int(e.Limit.Span.Seconds()))
	tellLimit(h, e.Limit.Name, policy, e.Limit.Most, 0, reset, at)
	h.Set("Retry-After", strconv.Itoa(reset))
}

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

// seconds is how long some tokens take to come back, rounded up but for the
// error of floating-point arithmetic.
func (l *limiter[K]) seconds(tokens float64) int {
	return int(math.Ceil(tokens/float64(l.rate) - 1e-6))
}

// limits are those of a server.
type limits struct {
	credentials *limiter[ulid.ULID]
	addresses   *limiter[netip.Addr]
}

func newLimits(limit RateLimit) limits {
	return limits{newLimiter[ulid.ULID]("credential", limit), newLimiter[netip.Addr]("address", limit)}
}

// spend counts a request of a credential.
func (x *exchange) spend() error {
	return x.limits.credentials.spend(x.w.Header(), x.who.ID, 1, x.at)
}

// spendAddress counts a request that names no valid credential.
func (x *exchange) spendAddress(price int) error {
	return x.limits.addresses.spend(x.w.Header(), clientAddress(x.r), price, x.at)
}

// clientAddress is the address that the connection comes from; of IPv6 its
// network, because a caller has all of a /64. Forwarded and its like are not
// believed: any caller can write them.
func clientAddress(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a socket without addresses: all its callers are one
	}
	address := from.Addr().Unmap().WithZone("")
	if address.Is6() {
		network, _ := address.Prefix(64) // fails only for more than 128 bits
		return network.Addr()
	}
	return address
}
