package deliveries

import (
	"container/heap"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// mark says that there is an event.
type mark struct {
	stream    events.Stream
	eventType string
	version   uint64
	position  uint64
	event     *events.Event // nil when it has to be read from the account's stream
}

// lane is an account with something to be sent; doc.go draws its states. It is
// the loop's alone: a turn works on a copy, and on the ledger's row. There may be
// a hundred thousand, so a lane holds no event but the first, until that was tried.
type lane struct {
	account ulid.ULID
	next    *events.Event // shared with the feed; nil: to be read from the account's stream
	version uint64        // all up to here is settled
	settled uint64        // so is all of the account up to this position of the log
	// seen is the version last marked: there is more while it is above version. It
	// is 0 when the ledger told of the lane, and it may be any up to the stream's end.
	seen     uint64
	busy     bool      // a turn is under way
	hastened bool      // a wait was cut short, and none was waited in full since
	due      time.Time // of a lane that waits
	index    int       // in the waiting lanes, -1 elsewhere
}

// openLane opens a lane for an account's event, of which the ledger may know
// more; the first turn asks it.
func openLane(account ulid.ULID, m mark) *lane {
	return &lane{
		account: account, next: m.event, version: m.version - 1, settled: m.position - 1, seen: m.version, index: -1,
	}
}

// reopenLane opens one that the ledger says waits.
func reopenLane(row Lane) *lane {
	return &lane{account: row.Account, version: row.Version, settled: row.Position, index: -1}
}

// reach takes in what of the account is settled. What comes next is to be read.
func (l *lane) reach(row Lane) {
	l.next = nil
	l.version, l.settled = max(l.version, row.Version), max(l.settled, row.Position)
}

// waiting are lanes by the time at which they are tried; a heap.
type waiting []*lane

var _ heap.Interface = (*waiting)(nil)

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push implements heap.Interface.
func (w *waiting) Push(x any) {
	l := x.(*lane)
	l.index = len(*w)
	*w = append(*w, l)
}

// Pop implements heap.Interface.
func (w *waiting) Pop() any {
	last := len(*w) - 1
	l := (*w)[last]
	(*w)[last], *w = nil, (*w)[:last]
	l.index = -1
	return l
}
