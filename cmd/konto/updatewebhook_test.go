package main

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// updateRate is how many email addresses BenchmarkUpdateToWebhook changes a second.
const updateRate = 500

// How long after an email change was acknowledged over HTTP its webhook arrives,
// at a steady rate of changes; -benchtime 5000x takes ten seconds. The time from
// the request's beginning counts the change itself too.
func BenchmarkUpdateToWebhook(b *testing.B) {
	folder := b.TempDir()
	owners := newOwners(b, folder, 200)
	party := newEndpoint(b, "party", always(204))
	party.register(folder)
	p := startProcess(b, folder, deliveryFlags()...)
	type sending struct {
		ack
		begun, acknowledged time.Time
		err                 error
	}
	sent := make([]sending, b.N)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(owners)}, Timeout: patience}
	work := make([]chan int, len(owners))
	var all sync.WaitGroup
	for i, o := range owners {
		work[i] = make(chan int, b.N/len(owners)+1) // the rate does not slow down with the server
		all.Go(func() {
			for n := range work[i] {
				s := sending{begun: time.Now()}
				s.ack, s.err = o.generic.update(client, p.url)
				s.acknowledged = time.Now()
				sent[n] = s
			}
		})
	}
	b.ResetTimer()
	tick := time.NewTicker(time.Second / updateRate)
	for n := range b.N {
		<-tick.C
		work[n%len(work)] <- n
	}
	tick.Stop()
	for _, w := range work {
		close(w)
	}
	all.Wait()
	party.untilTaken(b.N)
	b.StopTimer()

	arrived := map[string]map[uint64]time.Time{}
	changes := emailChanges(b, folder)
	for _, r := range party.got() {
		c := changes[r.id]
		if arrived[c.account] == nil {
			arrived[c.account] = map[uint64]time.Time{}
		}
		if _, again := arrived[c.account][c.version]; !again {
			arrived[c.account][c.version] = r.at
		}
	}
	var fromAck, fromRequest []time.Duration
	for n, s := range sent {
		if s.err != nil {
			b.Fatal(s.err)
		}
		at := arrived[owners[n%len(owners)].account.String()][s.version]
		fromAck = append(fromAck, max(0, at.Sub(s.acknowledged))) // a webhook may be faster than the answer
		fromRequest = append(fromRequest, at.Sub(s.begun))
	}
	report := func(name string, all []time.Duration) {
		slices.Sort(all)
		for unit, rank := range map[string]int{"p50": len(all) / 2, "p99": len(all) * 99 / 100} {
			b.ReportMetric(float64(all[rank].Microseconds())/1000, name+"-"+unit+"-ms")
		}
	}
	report("ack-to-webhook", fromAck)
	report("request-to-webhook", fromRequest)
}
