package deliveries

import (
	"container/heap"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// pageSize is how many events of one account are held in memory, and read from
// its stream at a time.
const pageSize = 32

// mark says that there is an event.
type mark struct {
	stream    events.Stream
	eventType string
	version   uint64
	position  uint64
	event     *events.Event // nil when it has to be read from the account's stream
}

// lane is an account with something to be sent; doc.go draws its states.
//
// While busy, row, known, next and read belong to the turn under way, the rest
// to the loop always.
type lane struct {
	row   Lane // as the ledger has it, or would
	known bool // row was compared with the ledger's
	next  []events.Event
	read  uint64 // the account's events up to this version were looked at: they are settled, or in next

	queue  []events.Event // follow next
	behind bool           // further ones are to be read from the stream
	seen   uint64         // the version last marked

	busy bool
	// held is the position of the first event of which the ledger knows nothing
	// yet, not even that its lane waits: the third party's position stays before
	// it. 0: there is none.
	held uint64
	// arrived is the position of the first mark since the turn under way began.
	arrived uint64
	base    uint64 // all of the account's events up to this position are settled
	// hastened is set once a wait was cut short, until it was waited in full.
	hastened bool
	due      time.Time // of a lane that waits
	index    int       // in the waiting lanes, -1 elsewhere
}

// openLane opens a lane for an account's event, of which the ledger may know
// more; the first turn asks it.
func openLane(account ulid.ULID, m mark) *lane {
	l := &lane{
		row:  Lane{Account: account, Version: m.version - 1, Position: m.position - 1},
		read: m.version - 1, held: m.position, base: m.position - 1, index: -1,
	}
	l.note(m)
	return l
}

// reopenLane opens one that the ledger says waits. Its events are read from the
// account's stream.
func reopenLane(row Lane) *lane {
	return &lane{row: row, known: true, read: row.Version, behind: true, seen: row.Version, base: row.Position, index: -1}
}

// note takes in that there is one more event. However many come, a lane holds
// few of them: the others are read from the stream when it is their turn.
func (l *lane) note(m mark) {
	if m.version <= l.seen {
		return
	}
	l.seen = m.version
	if l.arrived == 0 {
		l.arrived = m.position
	}
	if m.event == nil || l.behind || len(l.queue) == pageSize {
		l.behind = true
		return
	}
	l.queue = append(l.queue, *m.event)
}

// begin hands the lane to a turn.
func (l *lane) begin() {
	if n := len(l.queue); n > 0 {
		l.read = l.queue[n-1].Version
		l.next, l.queue = append(l.next, l.queue...), nil
	}
	l.busy, l.arrived = true, 0
}

// end takes the lane back from a turn. stored tells that the ledger has row;
// readAll that the turn read the account's stream to its end.
func (l *lane) end(stored, readAll bool) {
	l.busy = false
	if readAll && l.seen <= l.read {
		l.behind = false
	}
	if !stored {
		return
	}
	// What came while the turn was under way is not in what it stored.
	l.held = 0
	if !l.row.waits() {
		l.held = l.arrived
	}
	l.base = l.row.Position
	if len(l.next) > 0 {
		l.base = l.next[0].Position - 1
	}
}

// more tells whether something is left to be sent, as far as is known.
func (l *lane) more() bool { return len(l.next) > 0 || len(l.queue) > 0 || l.behind }

// floor is a position up to which all of the account's events are settled.
func (l *lane) floor() uint64 {
	if l.held > 0 {
		return l.held - 1
	}
	return l.base
}

// waiting are lanes by the time at which they are tried again; a heap.
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
