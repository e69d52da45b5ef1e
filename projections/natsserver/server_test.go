package natsserver

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"konto/events"
	"konto/projections/nats"
	"konto/projections/nats/subjects"
)

func TestServerThatDoesNotListenHasNoURL(t *testing.T) {
	r := newFixture(t)
	r.start()
	if url := r.server.URL(); url != "" {
		t.Fatalf("URL is %q", url)
	}
}

func TestStartErrorsNameTheCause(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	good := Config{Dir: t.TempDir(), Listen: "off", Key: []byte("k"), Log: quiet}
	tests := []struct {
		name   string
		change func(*Config)
		is     error
		says   string
	}{
		{"taken port", func(c *Config) { c.Listen = l.Addr().String() }, ErrPortTaken, l.Addr().String()},
		{"address without a port", func(c *Config) { c.Listen = "127.0.0.1" }, nil, `NATS cannot listen on "127.0.0.1"`},
		{"folder that cannot be made", func(c *Config) { c.Dir = filepath.Join(file, "nats") }, nil, "cannot keep NATS's files in " + file},
		{"no key", func(c *Config) { c.Key = nil }, nil, "no key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			_, err := Start(cfg)
			if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestFilesHoldNoClearData(t *testing.T) {
	const canary = "canary.in.the.coal.mine"
	r := newFixture(t)
	r.start()
	r.account(0, events.AccountOpened{Email: canary})
	r.follow(r.publisher())
	if data := string(r.received()[0].Data); !strings.Contains(data, canary) {
		t.Fatalf("message %s has no canary", data)
	}
	r.stop()
	var files int
	must(t, filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), canary) {
			t.Errorf("%s holds the canary in clear", d.Name())
		}
		return err
	}))
	if files == 0 {
		t.Fatal("the server left no files")
	}
}

// JetStream's own limit depends on what was free when it started, and the streams of inbound facts
// reserve their space.
func TestSpaceThatBecomesFreeIsUsedWithoutARestart(t *testing.T) {
	var left atomic.Int64
	left.Store(100 << 20)
	r := newFixture(t)
	cfg := r.config()
	cfg.freeBytes = func(string) (int64, error) { return left.Load(), nil }
	r.startAs(cfg)
	i := nats.NewInbound(r.conn, nil, quiet)
	s := i.Subscriber()
	t.Cleanup(func() { must(t, s.Close()) })
	messages, err := s.Subscribe(t.Context(), subjects.Inbound)
	must(t, err)
	eventually(t, func() bool {
		return strings.Contains(s.Trouble(), "has no space for the stream "+subjects.DeadLettersStream+", which reserves 128 MiB")
	})
	r.nc.SetDisconnectErrHandler(func(*natsgo.Conn, error) { t.Error("the connection was ended") })
	left.Store(2 << 30)
	eventually(t, func() bool { return s.Trouble() == "" })
	eventually(t, func() bool {
		_, err := r.js.Publish(t.Context(), subjects.Facts, []byte("{}"))
		return err == nil
	})
	if m := next(t, messages); string(m.Payload) != "{}" {
		t.Errorf("got %s", m.Payload)
	} else {
		m.Ack()
	}
	r.nc.SetDisconnectErrHandler(nil)
}

// After a failed write, as on a full disk, nats-server stores nothing more in the stream and
// does not answer those who publish to it, even when there is space again.
func TestStreamThatCannotBeWrittenIsReported(t *testing.T) {
	r := newFixture(t)
	r.start()
	must(t, nats.NewInbound(r.conn, nil, quiet).Open(t.Context()))
	if why := r.server.Trouble(); why != "" {
		t.Fatalf("in trouble from the start: %s", why)
	}
	blocks := filepath.Join(newRepair(r.dir, quiet).streams, subjects.FactsStream, "msgs")
	must(t, os.RemoveAll(blocks))
	must(t, os.WriteFile(blocks, nil, 0o600))
	const size = 64 << 10
	for range 4 * (8 << 20) / size { // more than fits in the open file, so that another one has to be made
		must(t, r.nc.Publish(subjects.Facts, make([]byte, size)))
	}
	eventually(t, func() bool {
		why := r.server.Trouble()
		return strings.Contains(why, "> "+subjects.FactsStream+"'") && strings.Contains(why, "not a directory") && strings.Contains(why, "start konto again")
	})
}
