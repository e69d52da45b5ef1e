package natsserver

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats"
	"konto/projections/nats/subjects"
)

func TestDamagedFilesAreMadeAgain(t *testing.T) {
	r := newFixture(t)
	r.account(20)
	r.start()
	r.follow(r.publisher())
	durable := jetstream.ConsumerConfig{Durable: "crm", AckPolicy: jetstream.AckExplicitPolicy}
	c, err := r.js.CreateOrUpdateConsumer(t.Context(), subjects.Stream, durable)
	must(t, err)
	first, err := c.Next(jetstream.FetchMaxWait(patience))
	must(t, err)
	must(t, first.DoubleAck(t.Context()))
	r.stop()
	filled, saved := r.dir, r.cursors.copy()
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
				r.cursors.set(saved)
				r.start()
				defer r.stop()
				r.follow(r.publisher())
				r.holdsTheLog()
				c, err := r.js.CreateOrUpdateConsumer(t.Context(), subjects.Stream, durable)
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

// Facts that wait to be recorded are stored nowhere else.
func TestDamagedInboundStreamsAreMovedAway(t *testing.T) {
	for _, name := range []string{subjects.FactsStream, subjects.DeadLettersStream} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t)
			r.start()
			i := r.inbound()
			_, err := r.js.Publish(t.Context(), subjects.Facts, []byte("{}"))
			must(t, err)
			must(t, i.StoreDeadLetter(t.Context(), 1, "no fact is given"))
			r.stop()
			folder := filepath.Join(newRepair(r.dir, quiet).streams, name)
			must(t, os.WriteFile(filepath.Join(folder, "meta.inf"), []byte("xyz"), 0o600))
			r.start()
			must(t, nats.NewInbound(r.conn, nil, quiet).Open(t.Context()))
			aside, err := filepath.Glob(filepath.Join(r.dir, "damaged", name+"-*", "msgs", "*"))
			if err != nil || len(aside) == 0 {
				t.Errorf("set aside %s, %v", aside, err)
			}
		})
	}
}

// Without its key, a file of messages cannot be read, and the server deletes the
// whole stream. The key may be found again.
func TestInboundStreamThatLostAKeyIsMovedAside(t *testing.T) {
	for name, key := range map[string][]byte{"missing": nil, "short": []byte("xyz")} {
		t.Run(name, func(t *testing.T) {
			r, _ := filledFolder(t)
			files, err := filepath.Glob(filepath.Join(newRepair(r.dir, quiet).streams, subjects.FactsStream, "msgs", "*.key"))
			if err != nil || len(files) == 0 {
				t.Fatalf("there are keys %s, %v", files, err)
			}
			for _, file := range files {
				must(t, os.Remove(file))
				if key != nil {
					must(t, os.WriteFile(file, key, 0o600))
				}
			}
			r.start()
			aside, err := filepath.Glob(filepath.Join(r.dir, "damaged", subjects.FactsStream+"-*", "msgs", "*.blk"))
			if err != nil || len(aside) == 0 {
				t.Errorf("set aside %s, %v", aside, err)
			}
		})
	}
}

// filledFolder returns a fixture whose files hold facts that wait, a dead letter, and the state of a
// durable. check starts the server and fails if any of them is lost.
func filledFolder(t *testing.T) (r *fixture, check func()) {
	t.Helper()
	r = newFixture(t)
	r.account(20)
	r.start()
	r.follow(r.publisher())
	durable := jetstream.ConsumerConfig{Durable: "crm", AckPolicy: jetstream.AckExplicitPolicy}
	place := func() jetstream.Consumer {
		c, err := r.js.CreateOrUpdateConsumer(t.Context(), subjects.Stream, durable)
		must(t, err)
		return c
	}
	c := place()
	for range 5 {
		m, err := c.Next(jetstream.FetchMaxWait(patience))
		must(t, err)
		must(t, m.DoubleAck(t.Context()))
	}
	i := r.inbound()
	for n := range 30 {
		_, err := r.js.Publish(t.Context(), subjects.Facts+".crm", []byte(strconv.Itoa(n)))
		must(t, err)
	}
	must(t, i.StoreDeadLetter(t.Context(), 1, "no fact is given"))
	r.stop()
	return r, func() {
		t.Helper()
		defer r.stop()
		for name, want := range map[string]uint64{subjects.FactsStream: 30, subjects.DeadLettersStream: 1, subjects.Stream: 20} {
			s, err := r.js.Stream(t.Context(), name)
			must(t, err)
			if got := s.CachedInfo().State.Msgs; got != want {
				t.Errorf("%s holds %d messages of %d", name, got, want)
			}
		}
		info, err := place().Info(t.Context())
		must(t, err)
		if info.AckFloor.Consumer != 5 {
			t.Errorf("the durable lost its place: %d messages are acknowledged", info.AckFloor.Consumer)
		}
		if _, err := os.Stat(filepath.Join(r.dir, "damaged")); err == nil {
			t.Error("files were called damaged")
		}
	}
}

// filesOf lists what is in a folder, with its content.
func filesOf(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			all[path] = ""
			return err
		}
		content, err := os.ReadFile(path)
		all[path] = string(content)
		return err
	}))
	return all
}

// refusesToStart checks that the server does not start, names a file, and changes nothing.
func (r *fixture) refusesToStart(parts ...string) {
	r.t.Helper()
	before := filesOf(r.t.(*testing.T), r.dir)
	ended := make(chan error, 1)
	go func() {
		s, err := Start(r.config())
		if err == nil {
			s.Close()
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			r.t.Fatal("the server started")
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				r.t.Errorf("%v does not say %q", err, part)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			r.t.Errorf("not one sentence: %v", err)
		}
	case <-time.After(patience):
		r.t.Fatal("the start is blocked")
	}
	if after := filesOf(r.t.(*testing.T), r.dir); !maps.Equal(before, after) {
		r.t.Error("files were changed")
	}
}

// The server would delete the stream, whatever the reason why a file cannot be read.
func TestServerDoesNotStartWhenAFileCannotBeRead(t *testing.T) {
	r, check := filledFolder(t)
	obstacles := map[string]struct {
		put  func(path string) error
		says string
	}{
		"a folder":          {func(path string) error { return os.Mkdir(path, 0o700) }, "is a directory"},
		"a pipe":            {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "neither a file nor a folder"},
		"a link to nothing": {func(path string) error { return os.Symlink("nothing", path) }, "no such file"},
		"a link to itself":  {func(path string) error { return os.Symlink(filepath.Base(path), path) }, "too many levels of symbolic links"},
		"a file that errs":  {func(path string) error { return os.Symlink("/proc/self/mem", path) }, "input/output error"},
	}
	var files []string
	for path, content := range filesOf(t, newRepair(r.dir, quiet).streams) {
		if content != "" {
			files = append(files, path)
		}
	}
	if len(files) < 20 {
		t.Fatalf("the server left %q", files)
	}
	for _, path := range files {
		for name, obstacle := range obstacles {
			t.Run(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path)+" is "+name, func(t *testing.T) {
				r.t = t
				away := filepath.Join(t.TempDir(), "away")
				must(t, os.Rename(path, away))
				must(t, obstacle.put(path))
				r.refusesToStart(path, obstacle.says)
				must(t, os.Remove(path))
				must(t, os.Rename(away, path))
			})
		}
	}
	r.t = t
	r.start()
	check()
}

func TestServerDoesNotStartWhenFoldersCannotBeRead(t *testing.T) {
	r, check := filledFolder(t)
	streams := newRepair(r.dir, quiet).streams
	for _, folder := range []string{streams, filepath.Join(streams, subjects.FactsStream), filepath.Join(streams, subjects.FactsStream, "msgs"), filepath.Join(streams, subjects.Stream, "obs", "crm")} {
		away := filepath.Join(t.TempDir(), "away")
		must(t, os.Rename(folder, away))
		must(t, os.Symlink(filepath.Base(folder), folder))
		r.refusesToStart(folder)
		must(t, os.Remove(folder))
		must(t, os.Rename(away, folder))
	}
	r.start()
	check()
}

// With fewer files than the server needs it would lose streams at random.
func TestNothingIsLostWhenTooManyFilesAreOpen(t *testing.T) {
	r, check := filledFolder(t)
	var was syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)
	open, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	// Below what is open now, too: the files of the fixture are closed.
	for more := -8; more < 80; more++ {
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(max(4, len(open)+more)), Max: was.Max}))
		s, err := Start(r.config())
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was))
		switch {
		case err == nil && more < 32:
			s.Close()
			t.Errorf("it started with %d files to spare", more)
		case err == nil:
			s.Close()
		case !strings.Contains(err.Error(), "too many open files"):
			t.Error(err)
		}
	}
	r.start()
	check()
}
