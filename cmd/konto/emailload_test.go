package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
)

// emailLoad changes the email addresses of many accounts at once, through every
// contract that can, while the server comes and goes.
type emailLoad struct {
	t      testing.TB
	url    string
	goal   int // of acknowledged changes
	client *http.Client
	all    sync.WaitGroup
	owners []*owner

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when any of what follows changes
	up      bool          // whether the server is to answer
	ends    int           // of the server so far
	acked   int
}

// owner changes one account, one request after the other.
type owner struct {
	account                  ulid.ULID
	generic, payway, profile *writer
	acked                    []ack // of email addresses
}

// newOwners opens accounts in a folder that nobody serves.
func newOwners(t testing.TB, folder string, n int) []*owner {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test", Begin: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	issue := func(spec events.KeyIssued) string {
		issued, err := h.Credentials.IssueKey(t.Context(), events.Metadata{}, spec)
		if err != nil {
			t.Fatal(err)
		}
		return issued.Token
	}
	client := issue(events.KeyIssued{Client: "load", Scopes: []string{"/external/account/w"}})
	var all []*owner
	for i := range n {
		a, err := (&opened{Folder: h}).OpenAccount(t.Context(), datafolder.Itself(), commands.Open{Email: fmt.Sprintf("o%d@example.com", i)}.WithDefaults())
		if err != nil {
			t.Fatal(err)
		}
		own := issue(events.KeyIssued{Account: a.ID, Scopes: []string{"read:account", "write:account"}})
		all = append(all, &owner{
			account: a.ID,
			generic: &writer{write: own, method: "PATCH", path: "/v1/account", body: fmt.Sprintf(`{"email":"o%d.g%%d@example.com"}`, i)},
			payway:  &writer{write: client, method: "PUT", path: "/external/api/v1/accounts", body: fmt.Sprintf(`{"id":%q,"email":"o%d.p%%d@example.com"}`, a.PaywayID, i)},
			profile: &writer{write: own, method: "PATCH", path: "/api/v2/me", body: `{"firstName":"Anna%d"}`},
		})
	}
	return all
}

// startLoad begins. The server is to be up.
func startLoad(t testing.TB, url string, owners []*owner, goal int) *emailLoad {
	l := &emailLoad{
		t: t, url: url, goal: goal, owners: owners, changed: make(chan struct{}), up: true,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(owners)}, Timeout: patience},
	}
	for _, o := range owners {
		l.all.Go(func() { l.drive(o) })
	}
	return l
}

// drive changes one account until there are enough changes.
func (l *emailLoad) drive(o *owner) {
	for n := 0; ; n++ {
		ends, ok := l.ready()
		if !ok {
			return
		}
		w := o.generic
		switch {
		case n%5 == 4: // in between there are events that nobody asked for
			w = o.profile
		case n%2 == 1:
			w = o.payway
		}
		a, err := w.update(l.client, l.url)
		switch {
		case err != nil && !l.cutOff(ends):
			l.t.Errorf("%s %s: %v", w.method, w.path, err)
			return
		case err == nil && w != o.profile:
			o.acked = append(o.acked, a)
			l.change(func() { l.acked++ })
		}
	}
}

// ready waits until the server is up, and returns how often it had ended by then.
// It is not ok when there are enough changes.
func (l *emailLoad) ready() (ends int, ok bool) {
	for {
		l.mu.Lock()
		up, ends, enough, changed := l.up, l.ends, l.acked >= l.goal, l.changed
		l.mu.Unlock()
		if enough || up {
			return ends, !enough
		}
		<-changed
	}
}

// cutOff reports whether the server has ended since.
func (l *emailLoad) cutOff(since int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ends > since
}

// down is called before the server is ended, again when it is back.
func (l *emailLoad) down()  { l.change(func() { l.up, l.ends = false, l.ends+1 }) }
func (l *emailLoad) again() { l.change(func() { l.up = true }) }

func (l *emailLoad) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

// until waits for so many acknowledged changes.
func (l *emailLoad) until(acked int) {
	l.t.Helper()
	timeout := time.After(catchUpTime)
	for {
		l.mu.Lock()
		n, changed := l.acked, l.changed
		l.mu.Unlock()
		if n >= acked {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			l.t.Fatalf("%d of %d changes were acknowledged", n, acked)
		}
	}
}
