package nats

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

func TestServerThatDoesNotListenHasNoURL(t *testing.T) {
	r := newRoom(t)
	r.start()
	if url := r.server.URL(); url != "" {
		t.Fatalf("URL is %q", url)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	good := ServerConfig{Dir: t.TempDir(), Listen: "off", Key: []byte("k"), Log: quiet}
	tests := []struct {
		name   string
		change func(*ServerConfig)
		is     error
		says   string
	}{
		{"taken port", func(c *ServerConfig) { c.Listen = l.Addr().String() }, ErrPortTaken, l.Addr().String()},
		{"address without a port", func(c *ServerConfig) { c.Listen = "127.0.0.1" }, nil, `NATS cannot listen on "127.0.0.1"`},
		{"folder that cannot be made", func(c *ServerConfig) { c.Dir = filepath.Join(file, "nats") }, nil, "cannot keep NATS's files in " + file},
		{"no key", func(c *ServerConfig) { c.Key = nil }, nil, "no key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			_, err := StartServer(cfg)
			if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestFilesHoldNoClearData(t *testing.T) {
	const canary = "canary.in.the.coal.mine"
	r := newRoom(t)
	r.start()
	r.append(events.AccountStream(ulid.Make()), events.AccountOpened{Email: canary})
	r.follow(r.publisher())
	if data := string(r.received()[0].Data()); !strings.Contains(data, canary) {
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

// JetStream's own limit is of what was free when it started, and streams of inbound
// facts reserve their room.
func TestRoomThatGetsFreeIsTakenWithoutARestart(t *testing.T) {
	var left atomic.Int64
	left.Store(100 << 20)
	r := newRoom(t)
	var err error
	r.server, err = StartServer(ServerConfig{Dir: r.dir, Listen: "off", Key: []byte("a key of the test"), Log: quiet,
		free: func(string) (int64, error) { return left.Load(), nil }})
	must(t, err)
	r.conn, err = r.server.Dial()
	must(t, err)
	i := NewInbound(r.conn, nil, quiet)
	s := i.Subscriber()
	t.Cleanup(func() { must(t, s.Close()) })
	messages, err := s.Subscribe(t.Context(), FactsSubject)
	must(t, err)
	eventually(t, func() bool {
		return strings.Contains(s.Trouble(), "has no room for the stream "+deadStream+", which reserves 128 MiB")
	})
	r.conn.nc.SetDisconnectErrHandler(func(*natsgo.Conn, error) { t.Error("the connection was ended") })
	left.Store(2 << 30)
	eventually(t, func() bool { return s.Trouble() == "" })
	eventually(t, func() bool {
		_, err := r.conn.js.Publish(t.Context(), factsSubject, []byte("{}"))
		return err == nil
	})
	if m := next(t, messages); string(m.Payload) != "{}" {
		t.Errorf("got %s", m.Payload)
	} else {
		m.Ack()
	}
	r.conn.nc.SetDisconnectErrHandler(nil)
}

// After a failed write, as on a full disk, nats-server stores nothing more in the
// stream and answers nobody who publishes to it, also when there is room again.
func TestStreamThatCannotBeWrittenIsTold(t *testing.T) {
	r := newRoom(t)
	r.start()
	must(t, NewInbound(r.conn, nil, quiet).Open(t.Context()))
	if why := r.server.Trouble(); why != "" {
		t.Fatalf("in trouble from the start: %s", why)
	}
	blocks := filepath.Join(newRepair(r.dir, quiet).streams, factsStream, "msgs")
	must(t, os.RemoveAll(blocks))
	must(t, os.WriteFile(blocks, nil, 0o600))
	for range 2 * (8 << 20) / maxFact { // more than fits the file that is open, so that another has to be made
		must(t, r.conn.nc.Publish(factsSubject, make([]byte, maxFact/2)))
	}
	eventually(t, func() bool {
		why := r.server.Trouble()
		return strings.Contains(why, "> "+factsStream+"'") && strings.Contains(why, "not a directory") && strings.Contains(why, "start konto again")
	})
}

// eventually waits until what other goroutines do comes about.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about")
		}
	}
}
