package http

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestParseRateLimit(t *testing.T) {
	for text, want := range map[string]RateLimit{"off": {}, "1/m": {PerMinute: 1}, "600/m": {PerMinute: 600}} {
		if got, err := ParseRateLimit(text); got != want || err != nil {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "600", "0/m", "-1/m", "1.5/m", "600/s", "600/M", " 600/m", "10000001/m", "Off"} {
		if got, err := ParseRateLimit(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestBucketRefillsAtItsRateUpToItsBurst(t *testing.T) {
	l := newLimiter[string]("credential", RateLimit{PerMinute: 120, Burst: 3})
	at := timeOfTest
	for i, test := range []struct {
		after      time.Duration // since the previous request
		price      int
		ok         bool
		remaining  string
		retryAfter string
		limit      string
	}{
		{0, 1, true, "2", "", `"credential";r=2;t=1`},
		{0, 2, true, "0", "", `"credential";r=0;t=2`},
		{0, 1, false, "0", "1", `"credential";r=0;t=2`},
		{499 * time.Millisecond, 1, false, "0", "1", `"credential";r=0;t=2`},
		{time.Millisecond, 1, true, "0", "", `"credential";r=0;t=2`},
		{time.Hour, 1, true, "2", "", `"credential";r=2;t=1`},
		{0, 7, false, "2", "1", `"credential";r=2;t=1`},
		{time.Second, 7, true, "0", "", `"credential";r=0;t=2`}, // no more than the burst
	} {
		h := http.Header{}
		at = at.Add(test.after)
		err := l.spend(h, "a", test.price, at)
		if (err == nil) != test.ok || err != nil && !errors.Is(err, errRateLimited) {
			t.Errorf("%d: %v", i, err)
		}
		got := []string{h.Get("X-RateLimit-Remaining"), h.Get("Retry-After"), h.Get("RateLimit"), h.Get("RateLimit-Policy"), h.Get("X-RateLimit-Limit")}
		want := []string{test.remaining, test.retryAfter, test.limit, `"credential";q=3;w=2`, "3"}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
}

func TestCallersAreCountedByTheirNetwork(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.7:1234":            "192.0.2.7",
		"[::ffff:192.0.2.7]:1234":   "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::",
		"[fe80::1%eth0]:80":         "fe80::",
		"@":                         "invalid IP",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = from
		r.Header.Set("X-Forwarded-For", "198.51.100.1")
		if got := (*proxies)(nil).clientAddress(r).String(); got != want {
			t.Errorf("%s: %s", from, got)
		}
	}
}

func TestOnlyTrustedProxiesSayWhoCalls(t *testing.T) {
	trusted := newProxies([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")})
	for _, test := range []struct{ from, forwardedFor, forwarded, want string }{
		{"10.0.0.1:80", "", "", "10.0.0.1"},
		{"10.0.0.1:80", "198.51.100.1", "", "198.51.100.1"},
		{"[::ffff:10.0.0.1]:80", "198.51.100.1", "", "198.51.100.1"},
		{"[2001:db8::1]:80", "2001:db9:1:2:3::4", "", "2001:db9:1:2::"},
		{"192.0.2.7:80", "198.51.100.1", "for=198.51.100.1", "192.0.2.7"}, // no proxy of ours
		{"10.0.0.1:80", "203.0.113.9, 198.51.100.1", "", "198.51.100.1"},  // the client wrote the first
		{"10.0.0.1:80", "198.51.100.1, 10.0.0.2", "", "198.51.100.1"},     // two proxies
		{"10.0.0.1:80", "10.0.0.3, 10.0.0.2", "", "10.0.0.1"},             // nobody but proxies
		{"10.0.0.1:80", "198.51.100.1, unknown", "", "10.0.0.1"},          // the proxy does not say
		{"10.0.0.1:80", "", `for=203.0.113.9, for="198.51.100.1:4711"`, "198.51.100.1"},
		{"10.0.0.1:80", "", `for="[2001:db9:1:2:3::4]";proto=https`, "2001:db9:1:2::"},
		{"10.0.0.1:80", "198.51.100.1", "for=203.0.113.9", "198.51.100.1"}, // the client wrote Forwarded
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = test.from
		if test.forwardedFor != "" {
			r.Header.Set("X-Forwarded-For", test.forwardedFor)
		}
		if test.forwarded != "" {
			r.Header.Set("Forwarded", test.forwarded)
		}
		if got := trusted.clientAddress(r).String(); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// TestNumberOfBucketsIsLimited uses many addresses, which must not make the limiter
// grow without limit.
func TestNumberOfBucketsIsLimited(t *testing.T) {
	l := newLimiter[int]("address", RateLimit{PerMinute: 1})
	for i := range maxBuckets + 10 {
		if err := l.spend(http.Header{}, i, 1, timeOfTest); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.buckets.Len(); n != maxBuckets {
		t.Errorf("%d buckets", n)
	}
}

// TestConcurrentCallersShareTheBucket checks that no caller gets a bucket of its own
// while the bucket is made.
func TestConcurrentCallersShareTheBucket(t *testing.T) {
	const keys = 5_000
	l := newLimiter[int]("credential", RateLimit{PerMinute: 60, Burst: 1})
	var served atomic.Int64
	together(4, func(int) bool {
		for key := range keys {
			if l.spend(http.Header{}, key, 1, timeOfTest) == nil {
				served.Add(1)
			}
		}
		return true
	})
	if n := served.Load(); n != keys {
		t.Errorf("%d served", n)
	}
}

func BenchmarkSpend(b *testing.B) {
	l := newLimiter[string]("credential", RateLimit{PerMinute: 1_000_000})
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = l.spend(http.Header{}, keys[i%len(keys)], 1, timeOfTest.Add(time.Duration(i)*time.Microsecond))
	}
}
