//go:build long

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"konto/cmd/konto/datafolder"
)

// A kill leaves the page cache, so the crash test cannot find out whether konto
// syncs. A trace of its system calls can: between each request and its answer
// a sync of the log has to have begun and ended.

const synced = 20 // updates that each of these tests makes

// span is a piece of time by the wall clock, which strace shows as well.
type span struct{ from, to time.Time }

func (s span) holds(other span) bool { return !other.from.Before(s.from) && !other.to.After(s.to) }

// timed is the span that do takes.
func timed(do func()) span {
	from := time.Now()
	do()
	return span{from, time.Now()}
}

// checkSynced returns an error unless the trace shows a sync of the file
// inside each of the spans.
func checkSynced(trace, file string, requests []span) error {
	syncs, err := readSyncs(trace, file)
	if err != nil {
		return err
	}
	next := 0
	for i, r := range requests {
		for next < len(syncs) && !r.holds(syncs[next]) {
			next++
		}
		if next == len(syncs) {
			return fmt.Errorf("request %d was answered without a sync of %s", i+1, file)
		}
		next++
	}
	return nil
}

// Lines of strace -f -ttt -T -y; another thread's call may split a line in two.
var (
	wholeCall = regexp.MustCompile(`^(\d+) +(\d+\.\d+) f(?:data)?sync\(\d+<([^>]*)>\) += 0 <(\d+\.\d+)>`)
	callBegun = regexp.MustCompile(`^(\d+) +(\d+\.\d+) f(?:data)?sync\(\d+<([^>]*)> <unfinished`)
	callEnded = regexp.MustCompile(`^(\d+) +(\d+\.\d+) <\.\.\. f(?:data)?sync resumed>\) += 0 <`)
)

// readSyncs lists the successful syncs of a file, in the order of their ends.
func readSyncs(trace, file string) ([]span, error) {
	content, err := os.ReadFile(trace)
	if err != nil {
		return nil, err
	}
	var all []span
	begun := map[string]time.Time{} // by thread
	for line := range strings.Lines(string(content)) {
		if m := wholeCall.FindStringSubmatch(line); m != nil && m[3] == file {
			from := clock(m[2])
			all = append(all, span{from, from.Add(clock(m[4]).Sub(time.Unix(0, 0)))})
		} else if m := callBegun.FindStringSubmatch(line); m != nil && m[3] == file {
			begun[m[1]] = clock(m[2])
		} else if m := callEnded.FindStringSubmatch(line); m != nil {
			if from, ok := begun[m[1]]; ok {
				all = append(all, span{from, clock(m[2])})
				delete(begun, m[1])
			}
		}
	}
	return all, nil
}

// clock reads seconds and microseconds since 1970.
func clock(text string) time.Time {
	seconds, micros, _ := strings.Cut(text, ".")
	s, _ := strconv.ParseInt(seconds, 10, 64)
	us, _ := strconv.ParseInt(micros, 10, 64)
	return time.Unix(s, us*1000)
}

// traced is a command under strace, which writes to the returned file.
func traced(t *testing.T, name string, args ...string) (cmd *exec.Cmd, trace string) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("this test needs strace: ", err)
	}
	trace = filepath.Join(t.TempDir(), "trace")
	cmd = exec.Command(strace, append([]string{"-f", "-ttt", "-T", "-y", "-e", "trace=fdatasync,fsync", "-o", trace, name}, args...)...)
	// Both as one group: without strace the command would run on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(func() {
		if cmd.Process != nil {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	return cmd, trace
}

// interruptHolder ends the server that holds a folder. strace would keep the
// signal for itself.
func interruptHolder(t *testing.T, folder string) {
	t.Helper()
	_, err := datafolder.Lock(folder, "test")
	var held *datafolder.Locked
	if !errors.As(err, &held) {
		t.Fatalf("nobody holds %s: %v", folder, err)
	}
	var id int
	if _, err := fmt.Sscanf(held.Holder, "konto serve (process %d)", &id); err != nil {
		t.Fatalf("%q: %v", held.Holder, err)
	}
	if err := syscall.Kill(id, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

func TestEachAnswerFollowsASyncOfTheLog(t *testing.T) {
	folder := t.TempDir()
	anna := newTenant(t, folder, "anna@example.com")
	cmd, trace := traced(t, binary(t), "serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "off")
	stderr := newWatched()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := stderr.find(t, readyLine)[1]
	var requests []span
	for i := range synced {
		requests = append(requests, timed(func() { rename(t, url, anna, fmt.Sprint("Anna", i)) }))
	}
	interruptHolder(t, folder)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	wal := filepath.Join(folder, "log.db-wal")
	if err := checkSynced(trace, wal, requests); err != nil {
		t.Error(err)
	}
}

func TestSyncCheckFindsAStoreThatDoesNotSync(t *testing.T) {
	appender := filepath.Join(t.TempDir(), "appender")
	if out, err := exec.Command("go", "build", "-o", appender, "./testdata/appender").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	append20 := func(synchronous string) error {
		file := filepath.Join(t.TempDir(), "log.db")
		cmd, trace := traced(t, appender, file, synchronous)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewScanner(stdout)
		answers.Scan() // ready
		var requests []span
		for range synced {
			requests = append(requests, timed(func() {
				fmt.Fprintln(stdin, "a line")
				answers.Scan()
			}))
		}
		if answers.Text() != "stored" {
			t.Fatalf("the appender said %q, %v", answers.Text(), answers.Err())
		}
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		return checkSynced(trace, file+"-wal", requests)
	}
	if err := append20("FULL"); err != nil {
		t.Errorf("a store that syncs: %v", err)
	}
	if err := append20("NORMAL"); err == nil {
		t.Error("a store that does not sync passed")
	}
}

// A folder whose name was not synced is lost with the power, and the log in it.
func TestNewFoldersAreSyncedIntoTheirParents(t *testing.T) {
	above := t.TempDir()
	folder := filepath.Join(above, "new", "konto")
	cmd, trace := traced(t, binary(t), "account", "open", "--data", folder, "--email", "anna@example.com")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, parent := range []string{above, filepath.Dir(folder)} {
		if syncs, err := readSyncs(trace, parent); err != nil || len(syncs) == 0 {
			t.Errorf("%s was not synced, %v", parent, err)
		}
	}
}
