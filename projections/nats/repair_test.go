package nats

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestDamagedFilesAreMadeAgain(t *testing.T) {
	r := newRoom(t)
	r.account(20)
	r.start()
	r.follow(r.publisher())
	durable := jetstream.ConsumerConfig{Durable: "crm", AckPolicy: jetstream.AckExplicitPolicy}
	c, err := r.conn.js.CreateOrUpdateConsumer(t.Context(), streamName, durable)
	must(t, err)
	first, err := c.Next(jetstream.FetchMaxWait(patience))
	must(t, err)
	must(t, first.DoubleAck(t.Context()))
	r.stop()
	filled, saved := r.dir, r.saved()
	var files []string
	must(t, filepath.WalkDir(filled, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, err = filepath.Rel(filled, path)
			files = append(files, path)
		}
		return err
	}))
	if len(files) < 8 {
		t.Fatalf("the server left %q", files)
	}
	damages := map[string][]byte{"empty": nil, "short": []byte("xyz"), "garbage": bytes.Repeat([]byte{0xa5}, 200)}
	for _, file := range files {
		for name, content := range damages {
			t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file)+" "+name, func(t *testing.T) {
				r.t, r.dir = t, filepath.Join(t.TempDir(), "nats")
				must(t, os.CopyFS(r.dir, os.DirFS(filled)))
				must(t, os.WriteFile(filepath.Join(r.dir, file), content, 0o600))
				must(t, saveCursor(t.Context(), r.cursors, saved))
				r.start()
				defer r.stop()
				r.follow(r.publisher())
				r.holds(r.published(0))
				c, err := r.conn.js.CreateOrUpdateConsumer(t.Context(), streamName, durable)
				must(t, err)
				seen := map[string]bool{first.Headers().Get("ce-id"): true}
				for len(seen) < 20 {
					m, err := c.Next(jetstream.FetchMaxWait(patience))
					must(t, err)
					seen[m.Headers().Get("ce-id")] = true
				}
			})
		}
	}
}

// What waits to be recorded is nowhere else.
func TestDamagedInboundStreamsAreSetAside(t *testing.T) {
	for _, name := range []string{factsStream, deadStream} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			r.start()
			i := r.inbound()
			_, err := r.conn.js.Publish(t.Context(), factsSubject, []byte("{}"))
			must(t, err)
			must(t, i.Bury(t.Context(), 1, "no fact is given"))
			r.stop()
			folder := filepath.Join(newRepair(r.dir, quiet).streams, name)
			must(t, os.WriteFile(filepath.Join(folder, "meta.inf"), []byte("xyz"), 0o600))
			r.start()
			must(t, NewInbound(r.conn, nil, quiet).Open(t.Context()))
			aside, err := filepath.Glob(filepath.Join(r.dir, "damaged", name+"-*", "msgs", "*"))
			if err != nil || len(aside) == 0 {
				t.Errorf("set aside %s, %v", aside, err)
			}
		})
	}
}
