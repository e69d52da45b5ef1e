package nats

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
