package http

import (
	"net/http"
	"slices"
	"testing"
)

// anna's account is at version 1. A new account has no earlier version.
func TestEveryUpdateChecksItsConditions(t *testing.T) {
	for name := range mutations {
		for _, test := range []struct {
			header string
			values []string
			holds  bool
		}{
			{"If-None-Match", []string{`*`}, false},
			{"If-None-Match", []string{`"1"`}, false},
			{"If-None-Match", []string{`W/"1"`}, false},
			{"If-None-Match", []string{`"7" ,	"1"`}, false},
			{"If-None-Match", []string{`"7"`, `"1"`}, false},
			{"If-None-Match", []string{`"7", *`}, false},
			{"If-None-Match", []string{`1`}, false},
			{"If-None-Match", []string{`w/"1"`}, false},
			{"If-None-Match", []string{`"7`}, false},
			{"If-None-Match", []string{`"7" "1"`}, false},
			{"If-None-Match", []string{`"7"`}, true},
			{"If-None-Match", []string{`W/"01", "a,1", "18446744073709551616"`}, true},
			{"If-None-Match", []string{``}, true},
			{"If-None-Match", []string{`, "7",`}, true},
			{"If-Match", []string{`*`}, true},
			{"If-Match", []string{`"7", "1"`}, true},
			{"If-Match", []string{`W/"1"`}, false},
			{"If-Match", []string{`1`}, false},
			{"If-Match", []string{`"7", "0", "18446744073709551615"`}, false},
			{"If-Match", []string{``}, false},
		} {
			h := anna(t)
			before := h.head()
			r := h.mutation(t, name, "k")
			r.Header[test.header] = test.values
			want := http.StatusPreconditionFailed
			if created := name == "payway, a new one"; created && test.header == "If-None-Match" || !created && test.holds {
				want = 0
			}
			answer, _, err := h.replied(r)
			h.must(err)
			if refused := answer.status >= 400; refused != (want != 0) || refused && answer.status != want {
				t.Errorf("%s, %s %q: answered %d %s", name, test.header, test.values, answer.status, answer.body)
			}
			if answer.status == want && h.head() != before {
				t.Errorf("%s, %s %q: something was stored", name, test.header, test.values)
			}
		}
	}
}

func TestEntityTagsAreSplitOutsideOfQuotes(t *testing.T) {
	for value, want := range map[string][]string{
		`"1", W/"2"`: {`"1"`, `W/"2"`},
		`"a,b","c"`:  {`"a,b"`, `"c"`},
		`,, "1" ,`:   {`"1"`},
		`"1, "2"`:    {`"1, "2"`},
		`*`:          {`*`},
		``:           nil,
	} {
		if got := tags([]string{value}); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}
