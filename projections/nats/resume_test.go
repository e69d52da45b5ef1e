package nats

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/projections/nats/subjects"
)

func TestPublishingContinuesWhereTheStreamEnds(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, r *fixture) // 100 events were published, the server is stopped
		want   uint64
	}{
		{"nothing happened", func(t *testing.T, r *fixture) {}, 100},
		{"all of JetStream's files are gone", func(t *testing.T, r *fixture) { must(t, os.RemoveAll(r.dir)) }, 0},
		{"files and cursor are gone", func(t *testing.T, r *fixture) {
			must(t, os.RemoveAll(r.dir))
			clear(r.cursors.values)
		}, 0},
		{"the cursor is gone", func(t *testing.T, r *fixture) { clear(r.cursors.values) }, 100},
		{"the cursor was not saved after the last batch", func(t *testing.T, r *fixture) {
			c := r.saved()
			c.Position, c.Sequence = 60, 60
			r.save(c)
		}, 100},
		{"the stream was purged", func(t *testing.T, r *fixture) {
			r.start()
			must(t, r.stream().Purge(t.Context()))
			r.stop()
		}, 0},
		{"the cursor is ahead of the stream", func(t *testing.T, r *fixture) {
			c := r.saved()
			c.Position, c.Sequence = 150, 150
			r.save(c)
		}, 100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newFixture(t)
			r.account(100)
			r.start()
			r.follow(r.publisher())
			r.stop()
			test.change(t, r)
			r.start()
			p := r.publisher()
			at := r.open(p)
			if at != test.want {
				t.Fatalf("continues after %d, want %d", at, test.want)
			}
			if c := r.saved(); c.Position != test.want || c.Sequence != r.stream().CachedInfo().State.LastSeq {
				t.Fatalf("cursor %+v does not agree with the stream", c)
			}
			r.account(10)
			r.feed(p, at)
			r.holds(r.published(0))
		})
	}
}

// A log that was restored from a backup and has grown past the cursor holds other events at the
// positions that the cursor counts as published.
func TestCursorOfAnotherHistoryIsIgnored(t *testing.T) {
	r := newFixture(t)
	r.account(10)
	r.start()
	r.follow(r.publisher())
	before := r.published(0)
	other := newFixture(t)
	other.account(12)
	r.store = other.store
	r.follow(r.publisher())
	r.holds(append(before, r.published(0)...))
}

func TestStreamOfAnotherLogIsContinued(t *testing.T) {
	r := newFixture(t)
	r.account(100)
	r.start()
	r.follow(r.publisher())
	theirs := r.published(0)
	clear(r.cursors.values)
	other := newFixture(t)
	other.account(30)
	r.store = other.store
	r.follow(r.publisher())
	r.holds(append(theirs, r.published(0)...))
}

func TestLostTailIsPublishedAgain(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.account(60)
	r.follow(r.publisher())
	r.stop()
	older := filepath.Join(t.TempDir(), "older")
	must(t, os.CopyFS(older, os.DirFS(r.dir)))
	r.start()
	r.account(40)
	r.follow(r.publisher())
	r.stop()
	must(t, os.RemoveAll(r.dir))
	must(t, os.CopyFS(r.dir, os.DirFS(older)))
	r.start()
	p := r.publisher()
	at := r.open(p)
	if at != 60 {
		t.Fatalf("continues after %d, want 60", at)
	}
	r.feed(p, at)
	r.holds(r.published(0))
}

func TestStreamLostWhileRunningIsFilledAgain(t *testing.T) {
	lose := map[string]func(t *testing.T, r *fixture){
		"purged":  func(t *testing.T, r *fixture) { must(t, r.stream().Purge(t.Context())) },
		"deleted": func(t *testing.T, r *fixture) { must(t, r.conn.js.DeleteStream(t.Context(), subjects.Stream)) },
	}
	for name, lose := range lose {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t)
			r.start()
			r.account(100)
			p := r.publisher()
			r.follow(p)
			lose(t, r)
			r.account(10)
			r.feed(p, 100)
			r.holds(r.published(0))
		})
	}
}

// The server remembers the id of a message that was purged, and answers that it is a duplicate.
func TestDuplicateAnswerIsNotTakenForStored(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.account(1)
	r.follow(r.publisher())
	must(t, r.stream().Purge(t.Context()))
	r.follow(r.publisher())
	r.holds(r.published(0))
}

func TestPurgingOneAccountIsNoLoss(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.account(50)
	erased := r.account(50)
	p := r.publisher()
	r.follow(p)
	_, owner, err := erased.Split()
	must(t, err)
	must(t, r.stream().Purge(t.Context(), jetstream.WithPurgeSubject(events.SubjectPrefix+owner.String()+".>")))
	if at := r.open(r.publisher()); at != 100 {
		t.Fatalf("continues after %d, want 100", at)
	}
	r.account(10)
	r.follow(p)
	want := r.published(0)
	r.holds(append(want[:50:50], want[100:]...))
}

func TestRetentionBoundsWhatIsPublishedAgain(t *testing.T) {
	r := newFixture(t)
	old, young := events.AccountStream(ulid.Make()), events.AccountStream(ulid.Make())
	change := events.ProfileUpdated{Alias: events.Set("a")}
	r.appendAt(time.Now().Add(-8*24*time.Hour), old, change, change, change)
	r.append(young, change, change)
	r.start()
	r.follow(r.publisher())
	r.holds(r.published(0)) // without stream and cursor everything is published
	r.stop()
	must(t, os.RemoveAll(r.dir))
	r.start()
	r.follow(r.publisher())
	r.holds(r.published(3)) // what would have aged out is not published again
}

func TestMessagesThatAgedOutAreNoLoss(t *testing.T) {
	r := newFixture(t)
	change := events.ProfileUpdated{Alias: events.Set("a")}
	r.appendAt(time.Now().Add(-8*24*time.Hour), events.AccountStream(ulid.Make()), change, change, change)
	r.start()
	p := r.publisher()
	r.follow(p)
	must(t, r.stream().Purge(t.Context())) // as the server does with what is too old
	r.account(1)
	r.feed(p, 3)
	r.holds(r.published(3))
	if at := r.open(r.publisher()); at != 4 {
		t.Fatalf("continues after %d, want 4", at)
	}
}

// A clock that ran ahead or behind for a while leaves old times behind young ones.
func TestWrongClockHidesNoEvent(t *testing.T) {
	ages := map[string][]time.Duration{ // days before now, by position
		"set back":           {8, 8, 1, 9, 9, 9, 9, 9},
		"behind for a while": {8, 3, 3, 20000, 20000, 20000, 2, 1},
		"ahead for a while":  {30, -400, 30, 30, 30, 30, 30, 1},
	}
	first := map[string]uint64{"set back": 2, "behind for a while": 1, "ahead for a while": 1}
	for name, days := range ages {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t)
			stream := events.AccountStream(ulid.Make())
			for _, d := range days {
				r.appendAt(time.Now().Add(-d*24*time.Hour), stream, events.ProfileUpdated{Alias: events.Set("a")})
			}
			r.start()
			r.follow(r.publisher())
			must(t, r.stream().Purge(t.Context()))
			r.follow(r.publisher())
			r.holds(r.published(first[name]))
		})
	}
}
