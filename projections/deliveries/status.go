package deliveries

import (
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
)

// PartyStatus is how deliveries to one third party are doing.
type PartyStatus struct {
	ID       ulid.ULID `json:"id"`
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Position uint64    `json:"position"` // up to here all is settled, or waits in a lane that is recorded
	Lag      uint64    `json:"lag"`      // events from there to the log's end
	Lanes    int       `json:"lanes"`    // accounts with events to be told
	Waiting  int       `json:"waiting"`  // of them those that wait for a retry
	InFlight int       `json:"inFlight"` // requests under way
	Limit    int       `json:"limit"`    // of requests under way
	Error    string    `json:"error,omitzero"`
}

// Status tells of all third parties, by name; of none while Run does not run.
func (d *Deliveries) Status() []PartyStatus {
	head, _, _ := d.feed.watch()
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []PartyStatus
	for _, k := range d.keepers {
		all = append(all, k.status(head))
	}
	slices.SortFunc(all, func(a, b PartyStatus) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Status tells how the run is doing.
func (l *lanes) Status() PartyStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// report lets Status tell of the loop's state.
func (l *lanes) report() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Position, l.status.Lanes = l.covered(), len(l.open)
	l.status.Waiting, l.status.InFlight, l.status.Limit = len(l.waiting), l.busy, l.pace.limit
}
