package sqlite

import (
	"path/filepath"
	"testing"

	"konto/events"
	"konto/eventstore"
)

// ends returns a map of one stream head.
func ends(stream events.Stream, version, position uint64) map[events.Stream]eventstore.StreamHead {
	return map[events.Stream]eventstore.StreamHead{stream: {Version: version, Position: position}}
}

func TestCachedHeadsAreNeverOlderThanTheLog(t *testing.T) {
	old := eventstore.StreamHead{Version: 1, Position: 5}
	tests := map[string]struct {
		before func(h *streamHeads) // after a reader saw that the log ended at 10
		want   eventstore.StreamHead
	}{
		"nothing happened":   {func(*streamHeads) {}, old},
		"it was appended to": {func(h *streamHeads) { h.addCommitted(ends("a", 2, 11)) }, eventstore.StreamHead{Version: 2, Position: 11}},
		"appended to, and evicted": {func(h *streamHeads) {
			h.addCommitted(ends("a", 2, 11))
			h.addCommitted(ends("b", 1, 12))
			h.addCommitted(ends("c", 1, 13))
		}, eventstore.StreamHead{}},
		"others were evicted": {func(h *streamHeads) {
			h.addCommitted(ends("b", 1, 9))
			h.addCommitted(ends("c", 1, 11))
			h.addCommitted(ends("d", 1, 12))
		}, old},
		"a commit failed":              {func(h *streamHeads) { h.evictAll() }, eventstore.StreamHead{}},
		"failed, and was stored":       {func(h *streamHeads) { h.evictAll(); h.restart(11) }, eventstore.StreamHead{}},
		"failed, and was not":          {func(h *streamHeads) { h.evictAll(); h.restart(10) }, old},
		"noted, then a commit failed":  {func(h *streamHeads) { h.addCommitted(ends("a", 2, 10)); h.evictAll(); h.restart(10) }, old},
		"noted later than it was read": {func(h *streamHeads) { h.addCommitted(ends("a", 1, 5)); h.addCommitted(ends("a", 2, 11)) }, eventstore.StreamHead{Version: 2, Position: 11}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newStreamHeads(2)
			h.restart(10)
			test.before(h)
			h.addRead("a", old, 10)
			if got, _ := h.get("a"); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// TestStreamHeadsAreCached after an append and after a read, but not for unknown streams.
func TestStreamHeadsAreCached(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	b := newBatch(3)
	last := mustAppend(t, log, b)
	want := eventstore.StreamHead{Version: 3, Position: last}
	if got, ok := log.writer.heads.get(b.Stream); !ok || got != want {
		t.Errorf("after the append %+v, %t", got, ok)
	}
	log = reopen(t, log)
	if _, ok := log.writer.heads.get(b.Stream); ok {
		t.Error("a log that was just opened knows a stream")
	}
	for range 2 {
		if got, err := log.StreamHead(t.Context(), b.Stream); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := log.StreamHead(t.Context(), "none"); err != nil || got != (eventstore.StreamHead{}) {
			t.Errorf("of no stream: %+v, %v", got, err)
		}
	}
	if got, ok := log.writer.heads.get(b.Stream); !ok || got != want {
		t.Errorf("after it was asked for %+v, %t", got, ok)
	}
	if _, ok := log.writer.heads.get("none"); ok {
		t.Error("an unknown stream is cached")
	}
}
