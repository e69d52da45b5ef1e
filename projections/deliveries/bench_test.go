package deliveries

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/eventstore"
	"konto/eventstore/sqlite"
	"konto/projections"
	"konto/projections/webhook"
)

// newBench is a harness with a log on disk and a sender of real requests.
func newBench(b *testing.B) *harness {
	h := newHarness(b)
	log, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "log.db"))
	h.must(err)
	b.Cleanup(func() {
		h.stop()
		log.Close()
	})
	h.log, h.store = log, eventstore.NewStore(log, h.keys)
	h.cfg.Sender, err = webhook.NewSender(webhook.Config{
		Accounts: projections.NewPast(h.store), TokenKey: webhook.TokenKey(h.keys.Derive),
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	h.must(err)
	return h
}

// BenchmarkIsolation sends changes to a hundred third parties. One that hangs must not cost
// the others 5% of their deliveries/s. The setups with and without it take turns, so that
// other load of the machine slows both.
func BenchmarkIsolation(b *testing.B) {
	const round = 20 // changes in each turn
	setups := []*crowd{newCrowd(b, false), newCrowd(b, true)}
	var took [2]time.Duration
	b.ResetTimer()
	for n := 0; n < b.N; n += round {
		for i, w := range setups {
			began := time.Now()
			w.send(round)
			took[i] += time.Since(began)
		}
	}
	b.StopTimer()
	told := float64((b.N+round-1)/round*round) * (parties - 1)
	for i, name := range []string{"well/s", "beside-one-that-hangs/s"} {
		b.ReportMetric(told/took[i].Seconds(), name)
	}
	b.ReportMetric(100*(1-took[0].Seconds()/took[1].Seconds()), "%cost")
}

const parties = 100

// crowd is a harness with a hundred third parties, each at an address of its own.
type crowd struct {
	*harness
	accounts []ulid.ULID
	next     int
	got      chan struct{} // a value for each request to one that does not hang
}

func newCrowd(b *testing.B, hanging bool) *crowd {
	w := &crowd{harness: newBench(b), got: make(chan struct{}, 1<<16)}
	release := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/hangs":
			w.got <- struct{}{}
		case hanging:
			<-release
		}
	}))
	var err error
	server.Listener.Close()
	server.Listener, err = net.Listen("tcp", "0.0.0.0:0")
	w.must(err)
	server.Start()
	b.Cleanup(server.Close)
	b.Cleanup(func() { close(release) })
	port := server.Listener.Addr().(*net.TCPAddr).Port
	w.addAt("hangs", fmt.Sprintf("http://127.0.0.1:%d/hangs", port))
	for i := range parties - 1 {
		w.addAt(fmt.Sprint("party-", i), fmt.Sprintf("http://127.0.0.%d:%d/", i+2, port))
	}
	for range 50 {
		w.accounts = append(w.accounts, w.open())
	}
	w.start()
	w.send(20) // connections are made
	return w
}

// send makes changes and waits until all third parties but one got each of them.
func (w *crowd) send(changes int) {
	for range changes {
		w.change(w.accounts[w.next%len(w.accounts)], 1)
		w.next++
	}
	for range changes * (parties - 1) {
		<-w.got
	}
}

// BenchmarkDelay measures the time from an acknowledged update to the moment
// at which the endpoint has the request, at 500 updates/s.
func BenchmarkDelay(b *testing.B) {
	const rate, accounts = 500, 1000
	h := newBench(b)
	var mu sync.Mutex
	var got atomic.Int64
	arrived, all := map[string]time.Time{}, make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		arrived[r.Header.Get("webhook-id")] = time.Now()
		mu.Unlock()
		if got.Add(1) == int64(b.N) {
			close(all)
		}
	}))
	b.Cleanup(server.Close)
	ids := make([]ulid.ULID, accounts)
	for i := range ids {
		ids[i] = h.open()
	}
	h.addAt("crm", server.URL)
	h.start()
	first, err := h.store.Head(b.Context())
	h.must(err)
	acknowledged := make([]time.Time, b.N)
	var updates sync.WaitGroup
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	b.ResetTimer()
	for i := range b.N {
		<-tick.C
		updates.Go(func() {
			position := h.change(ids[i%accounts], 1)
			acknowledged[position-first-1] = time.Now()
		})
	}
	updates.Wait()
	<-all
	b.StopTimer()
	mu.Lock()
	defer mu.Unlock()
	log, err := h.store.ReadAll(b.Context(), first, b.N)
	h.must(err)
	delays := make([]time.Duration, len(log))
	for i, e := range log {
		delays[i] = arrived[e.ID.String()].Sub(acknowledged[i])
	}
	slices.Sort(delays)
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds())/1000, "ms/p50")
	b.ReportMetric(float64(delays[len(delays)*99/100].Microseconds())/1000, "ms/p99")
}
