package control

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// noted is a meter that records what it shows.
type noted struct {
	shown   []Progress
	cleared int
}

func (n *noted) Show(p Progress) { n.shown = append(n.shown, p) }
func (n *noted) Clear()          { n.cleared++ }

func TestProgressReachesTheCallerOfAnotherProcess(t *testing.T) {
	for name, json := range map[string]bool{"people": false, "programs": true} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				to := frames{w, http.NewResponseController(w)}
				out := NewMeteredOutput(to, json, to)
				out.Progress(1, 3, "events")
				out.Text.WriteString("half a rune: \xc3\n") // as of an export
				out.Flush()
				out.Progress(3, 3, "events")
			}))
			defer server.Close()
			answer, err := http.Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			var printed bytes.Buffer
			var n noted
			if err := receive(answer.Body, NewMeteredOutput(&printed, json, &n)); err != nil {
				t.Fatal(err)
			}
			if printed.String() != "half a rune: \xc3\n" {
				t.Errorf("printed %q", &printed)
			}
			want := []Progress{{1, 3, "events"}, {3, 3, "events"}}
			if json {
				want = nil
			}
			if !slices.Equal(n.shown, want) {
				t.Errorf("shown: %v", n.shown)
			}
			if !json && n.cleared == 0 {
				t.Error("the answer was printed into the bar")
			}
		})
	}
}

func TestProgressIsSentAtMostTenTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n noted
		out := NewMeteredOutput(&bytes.Buffer{}, false, &n)
		for i := range uint64(1000) {
			out.Progress(i, 1000, "events")
			time.Sleep(time.Millisecond)
		}
		out.Progress(1000, 1000, "events")
		out.Progress(1000, 1000, "events")
		out.Progress(0, 0, "accounts")
		if len(n.shown) != 12 {
			t.Errorf("shown %d times: %v", len(n.shown), n.shown)
		}
		if last := n.shown[len(n.shown)-2]; last.Done != 1000 {
			t.Errorf("the end was not shown, but %v", last)
		}
	})
}

func TestLongTasksPrintLinesOfProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		m := NewMeter(&said)
		for i := range uint64(41) {
			m.Show(Progress{i * 100, 4000, "events"})
			time.Sleep(400 * time.Millisecond)
		}
		for i := range uint64(11) { // is done before a line is due
			m.Show(Progress{i, 10, "accounts"})
			time.Sleep(100 * time.Millisecond)
		}
		want := "1300 of 4000 events, 250/s, 11s left\n2600 of 4000 events, 250/s, 6s left\n3900 of 4000 events, 250/s, 0s left\n4000 of 4000 events, 250/s\n"
		if said.String() != want {
			t.Errorf("said\n%s", &said)
		}
	})
}
