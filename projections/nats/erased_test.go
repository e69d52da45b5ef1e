package nats

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
)

// erase appends an AccountErased, and returns the ids that the stream must hold then.
func (r *fixture) erase(gone events.Stream) (want []string) {
	r.t.Helper()
	r.append(gone, events.AccountErased{})
	all, err := r.store.ReadAll(r.t.Context(), 0, 10_000)
	must(r.t, err)
	for _, e := range all {
		if e.Stream != gone || e.Type == events.TypeAccountErased {
			want = append(want, e.ID.String())
		}
	}
	return want
}

func TestErasedAccountIsRemovedFromTheStream(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.account(20)
	gone := r.account(30)
	r.follow(r.publisher())
	r.account(20)
	want := r.erase(gone)
	r.account(20)
	want = append(want, r.published(71)...)
	p := r.publisher()
	r.follow(p)
	r.holds(want)
	r.account(1) // the cursor fits the stream as it is now
	r.feed(p, 91)
	r.holds(append(want, r.published(91)...))
}

// brokenPurge fails to delete messages, as if konto was killed.
type brokenPurge struct{ jetstream.Stream }

func (brokenPurge) SecureDeleteMsg(context.Context, uint64) error { return errors.New("killed") }

// killed is JetStream for a publisher that is killed before it deletes anything.
type killed struct{ jetstream.JetStream }

func (k killed) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := k.JetStream.Stream(ctx, name)
	return brokenPurge{s}, err
}

func TestAccountIsOverwrittenAfterAKillBehindItsErasure(t *testing.T) {
	for name, lost := range map[string]bool{"with the cursor": false, "with a lost cursor": true} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t)
			r.start()
			gone := r.account(10)
			p := r.publisher()
			r.follow(p)
			want := r.erase(gone)
			ctx, cancel := context.WithCancel(t.Context())
			js := r.conn.js
			r.conn.js = killed{js}
			batch, err := r.store.ReadAll(ctx, 10, 10)
			must(t, err)
			ended := make(chan error)
			go func() { ended <- p.Apply(ctx, batch) }()
			for r.stream().CachedInfo().State.Msgs < 11 { // until it is published
				must(t, ctx.Err())
			}
			cancel()
			<-ended
			r.conn.js = js
			if lost {
				r.cursors = &cursors{values: map[string][]byte{}}
			}
			r.follow(r.publisher())
			r.holds(want)
		})
	}
}

// The bytes are overwritten, not only hidden. The test looks for them in the files of a server that does
// not encrypt them.
func TestErasedBytesAreOverwritten(t *testing.T) {
	for name, later := range map[string]bool{"written at once": false, "written later": true} {
		t.Run(name, func(t *testing.T) { erasedBytes(t, later) })
	}
}

func erasedBytes(t *testing.T, later bool) {
	r := newFixture(t)
	outside := outsideServer(t, "127.0.0.1:0", r.dir)
	var err error
	r.conn, err = Dial(DialConfig{URL: "nats://" + outside.Addr().String(), Log: quiet})
	must(t, err)
	r.conn.embedded = later
	gone, kept := r.account(0), r.account(0)
	r.append(gone, events.AccountOpened{Email: "kanarie@example.com"})
	r.append(kept, events.AccountOpened{Email: "control@example.com"})
	r.follow(r.publisher())
	r.erase(gone)
	r.follow(r.publisher())
	r.conn.Close()
	outside.Shutdown()
	outside.WaitForShutdown()
	found := map[string]bool{"kanarie@": r.onDisk("kanarie@"), "control@": r.onDisk("control@")}
	if found["kanarie@"] || !found["control@"] {
		t.Errorf("found %v", found)
	}
}

// onDisk reports whether any of the server's files has a text.
func (r *fixture) onDisk(text string) (found bool) {
	r.t.Helper()
	must(r.t, filepath.WalkDir(r.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || bytes.Contains(content, []byte(text))
		return err
	}))
	return found
}
