package projections

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneLineOfAKindIsLoggedEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s LogLimiter
		expect := func(kind string, leftOut int, ok bool) {
			t.Helper()
			if n, may := s.Allow(kind); n != leftOut || may != ok {
				t.Errorf("%s: %d were left out, %v; want %d, %v", kind, n, may, leftOut, ok)
			}
		}
		expect("a", 0, true)
		for range 12_000 {
			expect("a", 0, false)
		}
		expect("b", 0, true)
		time.Sleep(logInterval - 1)
		expect("a", 0, false)
		time.Sleep(time.Nanosecond)
		expect("a", 12_001, true)
		expect("a", 0, false)
		time.Sleep(logInterval)
		expect("a", 1, true)
		for i := range 10 * maxKinds {
			expect(strconv.Itoa(i), 0, true)
		}
		if len(s.kinds) > maxKinds {
			t.Errorf("%d kinds are held", len(s.kinds))
		}
	})
}
