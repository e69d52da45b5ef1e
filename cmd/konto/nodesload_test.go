//go:build servers

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// nodesLoad is writers that each change an account of their own, one update after the other, through
// any node that answers.
type nodesLoad struct {
	t       *testing.T
	nodes   []*node
	client  *http.Client
	roamers []*roamer
	stop    chan struct{}
	all     sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when any of what follows changes
	acked   []int         // of each roamer, since the start
	last    time.Time     // when the last update was acknowledged
	stall   time.Duration // the longest time without an acknowledged update, since stalled

	repeated, refused, reads atomic.Int64
}

// roamer is a writer that goes to another node when one does not answer.
type roamer struct {
	*writer
	load    *nodesLoad
	number  int
	at      int          // the node that it sends updates to
	unknown map[int]bool // values of which nobody said whether they were stored
}

// answerTime is how long a roamer waits for a node. A failover takes longer.
const answerTime = 4 * time.Second

func startNodesLoad(t *testing.T, nodes []*node, writers []*writer) *nodesLoad {
	l := &nodesLoad{
		t: t, nodes: nodes, stop: make(chan struct{}), changed: make(chan struct{}), acked: make([]int, len(writers)), last: time.Now(),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(writers)}, Timeout: answerTime},
	}
	for i, w := range writers {
		r := &roamer{writer: w, load: l, number: i, at: i % len(nodes), unknown: map[int]bool{}}
		l.roamers = append(l.roamers, r)
		l.all.Go(r.run)
	}
	return l
}

func (l *nodesLoad) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// end ends the load and returns once nothing is under way any more.
func (l *nodesLoad) end() {
	close(l.stop)
	l.all.Wait()
	l.client.CloseIdleConnections()
}

// flows waits until each writer got n more acknowledgements.
func (l *nodesLoad) flows(n int) {
	l.t.Helper()
	l.mu.Lock()
	before := append([]int(nil), l.acked...)
	l.mu.Unlock()
	timeout := time.After(3 * patience)
	for {
		l.mu.Lock()
		waiting, changed := 0, l.changed
		for i := range before {
			if l.acked[i] < before[i]+n {
				waiting++
			}
		}
		l.mu.Unlock()
		if waiting == 0 {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			l.t.Fatalf("%d writers get no acknowledgement", waiting)
		}
	}
}

// stalled returns the longest time without an acknowledged update since the last call.
func (l *nodesLoad) stalled() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.stall = 0 }()
	return max(l.stall, time.Since(l.last)).Round(time.Millisecond)
}

// acknowledged counts the updates of all writers.
func (l *nodesLoad) acknowledged() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, acked := range l.acked {
		n += acked
	}
	return n
}

func (l *nodesLoad) note(r *roamer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[r.number]++
	now := time.Now()
	l.stall, l.last = max(l.stall, now.Sub(l.last)), now
	close(l.changed)
	l.changed = make(chan struct{})
}

func (r *roamer) run() {
	for !r.load.stopped() {
		value := r.next
		r.next++
		a, ok := r.send(value)
		// Every other update without an answer is sent again until it has one.
		for again := rand.IntN(2) == 0; !ok && again && !r.load.stopped(); {
			r.load.repeated.Add(1)
			a, ok = r.send(value)
		}
		if !ok {
			r.unknown[value] = true
			continue
		}
		r.acked, r.last = append(r.acked, a), a
		r.load.note(r)
		if rand.IntN(4) == 0 {
			r.readElsewhere()
		}
		time.Sleep(rand.N(40 * time.Millisecond)) // other processes need the processors too
	}
}

// send sends a value once. It is not ok, and the roamer goes to another node, if there is no answer
// that says what became of the value.
func (r *roamer) send(value int) (a ack, ok bool) {
	answer, err := r.repeatable(r.load.client, r.load.nodes[r.at].address(), value)
	if err == nil && answer.status == http.StatusOK {
		version, err := entityVersion(http.Header{"Etag": {answer.etag}})
		if err != nil {
			r.load.t.Errorf("%s %s: %v", r.method, r.path, err)
		}
		return ack{value, version}, true
	}
	if err == nil {
		r.load.refused.Add(1)
		if answer.status != http.StatusInternalServerError && answer.status != http.StatusServiceUnavailable {
			r.load.t.Errorf("%s %s: node %s answered %d %s", r.method, r.path, r.load.nodes[r.at].name, answer.status, answer.body)
		}
	}
	r.at = (r.at + 1 + rand.IntN(len(r.load.nodes)-1)) % len(r.load.nodes)
	return ack{}, false
}

// readElsewhere reads the account from another node than the one that acknowledged the last update.
func (r *roamer) readElsewhere() {
	other := r.load.nodes[(r.at+1+rand.IntN(len(r.load.nodes)-1))%len(r.load.nodes)]
	s, err := r.shown(r.load.client, other)
	if err != nil {
		return // it is killed or paused, or cannot reach the log
	}
	r.load.reads.Add(1)
	r.checkShown(other, s)
}

// accountShown is what a node shows of an account.
type accountShown struct {
	ack
	body string
}

// shown reads the account from a node. Its error means that there was no answer with the account.
func (r *roamer) shown(client *http.Client, from *node) (s accountShown, err error) {
	request, err := http.NewRequest("GET", from.address()+"/api/v2/me", nil)
	if err != nil {
		return s, err
	}
	request.Header.Set("Authorization", "Bearer "+r.read)
	answer, err := client.Do(request)
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return s, err
	}
	if answer.StatusCode != http.StatusOK {
		if answer.StatusCode != http.StatusInternalServerError && answer.StatusCode != http.StatusServiceUnavailable {
			r.load.t.Errorf("node %s answered %d %s to a read", from.name, answer.StatusCode, body)
		}
		return s, fmt.Errorf("answered %d %s", answer.StatusCode, body)
	}
	found := shownValue.FindSubmatch(body)
	if found == nil {
		return s, fmt.Errorf("no value in %s", body)
	}
	s.body = string(body)
	s.value, _ = strconv.Atoi(string(found[1]))
	s.version, err = entityVersion(answer.Header)
	return s, err
}

// checkShown expects what was acknowledged last, or a later update without an answer.
func (r *roamer) checkShown(from *node, s accountShown) {
	switch {
	case s.version < r.last.version,
		s.version == r.last.version && s.value != r.last.value,
		s.version > r.last.version && !r.unknown[s.value]:
		r.load.t.Errorf("%s %s: value %d at version %d was acknowledged, node %s shows value %d at version %d",
			r.method, r.path, r.last.value, r.last.version, from.name, s.value, s.version)
	}
}

var storedValue = regexp.MustCompile(`"v(\d+)"`)
