package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"konto/cmd/kontobench/bench"
)

// benchServer is a konto in a process of its own, so that the load generator is no part of its
// memory and garbage collection.
type benchServer struct {
	process *exec.Cmd
	url     string
	address bench.Server  // of url
	started time.Duration // until it was ready
	read    chan struct{} // closed when its log has ended
	last    string        // line of its log; valid once read is closed
}

// benchStopTime is how long a server may take to stop. It first publishes what waits.
const benchStopTime = time.Minute

// patienceAtStart is how long its followers may take to publish events that were stored while no
// server ran.
const patienceAtStart = 10 * time.Minute

// findKonto returns the program to measure: the one that was named, or the konto beside this
// program, or the one in PATH.
func findKonto(named string) (string, error) {
	if named != "" {
		return exec.LookPath(named)
	}
	if own, err := os.Executable(); err == nil {
		if beside, err := exec.LookPath(filepath.Join(filepath.Dir(own), "konto")); err == nil {
			return beside, nil
		}
	}
	program, err := exec.LookPath("konto")
	if err != nil {
		return "", fmt.Errorf("there is no konto beside kontobench or in PATH; build it (go build ./cmd/konto) and name it with --konto: %w", err)
	}
	return filepath.Abs(program)
}

var benchReady = regexp.MustCompile(`msg="konto is ready" http=(\S+)`)

// startBenchServer returns when the server is ready. It ends with ctx.
func startBenchServer(ctx context.Context, program, folder string) (_ *benchServer, err error) {
	s := &benchServer{read: make(chan struct{})}
	s.process = exec.CommandContext(ctx, program, "serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "off",
		"--rate-limit", "off", "--third-party-allow", "127.0.0.0/8")
	s.process.Env = benchEnvironment()
	s.process.Cancel = func() error { return s.process.Process.Signal(syscall.SIGTERM) }
	s.process.WaitDelay = benchStopTime
	// A pipe of our own: that of StderrPipe would be closed under the reader.
	log, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.process.Stderr = theirs
	begun := time.Now()
	err = s.process.Start()
	theirs.Close()
	if err != nil {
		log.Close()
		return nil, err
	}
	ready := make(chan string, 1)
	go s.readLog(log, ready)
	s.url = <-ready // "" if it ended before
	s.started = time.Since(begun)
	if s.url == "" {
		return nil, errors.Join(ctx.Err(), s.ended(s.process.Wait()))
	}
	if s.address, err = bench.ParseServer(s.url); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// readLog sends the server's URL once it is ready. It reads to the end, so that the server never
// waits for a reader.
func (s *benchServer) readLog(log io.ReadCloser, ready chan<- string) {
	defer close(s.read)
	defer close(ready)
	defer log.Close()
	sent := false
	for lines := bufio.NewScanner(log); lines.Scan(); {
		s.last = lines.Text()
		if found := benchReady.FindStringSubmatch(s.last); found != nil && !sent {
			sent = true
			ready <- found[1]
		}
	}
}

// stop stops the server in order.
func (s *benchServer) stop() error {
	s.process.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(benchStopTime, func() { s.process.Process.Kill() })
	defer late.Stop()
	return s.ended(s.process.Wait())
}

// ended returns an error with the last line of the log if the process failed.
func (s *benchServer) ended(err error) error {
	<-s.read
	if err == nil {
		return nil
	}
	return fmt.Errorf("the server ended: %w: %s", err, s.last)
}

func (s *benchServer) pid() bench.Process { return bench.Process(s.process.Process.Pid) }

// benchEnvironment leaves out the variables that stand for flags. With those of a real server this
// one would publish or mail.
func benchEnvironment() (kept []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "KONTO_") || strings.HasPrefix(v, "KONTO_MASTER_KEY=") {
			kept = append(kept, v)
		}
	}
	return kept
}
