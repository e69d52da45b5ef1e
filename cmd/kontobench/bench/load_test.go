package bench

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// aim makes a load of a few targets on a server of its own.
func aim(t *testing.T, k kind, answer http.HandlerFunc) load {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	to, err := ParseServer(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return load{to: to, kind: k, targets: []Target{{"a"}, {"b"}, {"c"}}, connections: 2, length: 100 * time.Millisecond, rate: 1000, keep: true}
}

func TestLoadMakesEachRequestThatIsDue(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	bodies := map[string]bool{}
	l := aim(t, mixed, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || !strings.HasSuffix(string(body), "}") {
			t.Errorf("the body is %q, %v", body, err)
		}
		asked[r.Header.Get("Authorization")]++
		asked[r.Method+" "+r.URL.Path]++
		bodies[string(body)] = true
		w.Header().Set("ETag", `"7"`)
	})
	done, err := l.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := done.latency.TotalCount(); n != 100 || done.errors != 0 || len(done.acks) != 100 || len(bodies) != 100 {
		t.Errorf("%d requests with %d bodies, %d errors, %d acks", n, len(bodies), done.errors, len(done.acks))
	}
	emails := 0
	for _, a := range done.acks {
		if a.version != 7 {
			t.Errorf("the version is %d", a.version)
		}
		if a.email {
			emails++
		}
	}
	if asked["PATCH /v1/account"] != emails || emails != 10 || asked["PATCH "+me] != 90 {
		t.Errorf("%d changed the email address: %v", emails, asked)
	}
	for _, target := range []string{"a", "b", "c"} {
		if n := asked["Bearer "+target]; n < 33 || n > 34 {
			t.Errorf("%d requests to %s", n, target)
		}
	}
}

func TestLoadCountsWhatFails(t *testing.T) {
	var n atomic.Int64
	l := aim(t, get, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 4 {
		case 0:
			w.WriteHeader(http.StatusTooManyRequests)
		case 1:
			panic(http.ErrAbortHandler) // cuts the connection off
		case 2:
			w.Write([]byte("in"))
			w.(http.Flusher).Flush() // and so without a length
		}
	})
	done, err := l.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if done.latency.TotalCount() != 25 || done.errors != 75 || len(done.acks) != 25 {
		t.Errorf("%d were right, %d wrong, %d acknowledged", done.latency.TotalCount(), done.errors, len(done.acks))
	}
}

func TestLoadNeedsAServer(t *testing.T) {
	l := aim(t, get, nil)
	server := httptest.NewServer(nil)
	l.to, _ = ParseServer(server.URL)
	server.Close()
	if _, err := l.run(t.Context()); err == nil {
		t.Error("nobody was there")
	}
}
