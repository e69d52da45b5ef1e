package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
)

// stopping is a context that ends when it is asked for the n-th time whether it has
// ended, so that a test stops a command at each of the moments at which it can notice.
type stopping struct {
	context.Context
	end  context.CancelFunc
	left atomic.Int64
}

func stopAfter(t *testing.T, n int64) *stopping {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s := &stopping{Context: ctx, end: cancel}
	s.left.Store(n)
	return s
}

func (s *stopping) asked() {
	if s.left.Add(-1) == 0 {
		s.end()
	}
}

func (s *stopping) Done() <-chan struct{} { s.asked(); return s.Context.Done() }
func (s *stopping) Err() error            { s.asked(); return s.Context.Err() }

// runStopping runs a command line until it ends or its server is ready.
func runStopping(ctx *stopping, args ...string) result {
	stdout, stderr := &stopsWhenReady{newWatched(), ctx.end}, &stopsWhenReady{newWatched(), ctx.end}
	status := run(ctx, args, strings.NewReader(""), stdout, stderr)
	return result{status, stdout.String(), stderr.String()}
}

type stopsWhenReady struct {
	*watched
	stop func()
}

func (w *stopsWhenReady) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "is ready") {
		w.stop()
	}
	return w.watched.Write(p)
}

func TestStopBeforeReadyIsACleanExit(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for name, first := range map[string]bool{"the first start": true, "a later start": false} {
		for _, command := range []string{"serve", "demo"} {
			t.Run(command+", "+name, func(t *testing.T) {
				stopped := 0
				for n := int64(1); ; n = n*3/2 + 1 {
					folder := filepath.Join(t.TempDir(), "data")
					if !first {
						must(t, "account", "open", "--email", "anna@example.com", "--data", folder)
					}
					args := []string{command, "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"}
					r := runStopping(stopAfter(t, n), args...)
					if r.status != exitDone || strings.Contains(r.stderr, "konto: ") || strings.Contains(r.stderr, "ERROR") {
						t.Errorf("stopped at the moment %d: exit %d: %s", n, r.status, r.stderr)
					}
					must(t, "account", "open", "--email", "bo@example.com", "--data", folder)
					if strings.Contains(r.stdout+r.stderr, "is ready") {
						break
					}
					stopped++
				}
				if stopped < 3 {
					t.Errorf("it was stopped at %d moments only", stopped)
				}
			})
		}
	}
	if r := runStopping(stopAfter(t, 1), "demo", "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"); r.status != exitDone {
		t.Errorf("exit %d: %s", r.status, r.stderr)
	}
	empty(t, os.Getenv("TMPDIR"))
}

func TestStopWhileAnotherHoldsTheFolderIsACleanExit(t *testing.T) {
	folder := furnished(t)
	lock, err := datafolder.Lock(folder, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	server := start(t, "serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "off")
	if status := server.stop(); status != exitDone || server.stderr.String() != "" {
		t.Errorf("exit %d: %s", status, server.stderr)
	}
}

// A copy that was not made leaves nothing, whenever it ends, and an older file as it was.
func TestFailedCopiesLeaveNothing(t *testing.T) {
	folder := furnished(t)
	for i := range 5 {
		must(t, "account", "open", "--email", string(rune('a'+i))+"@example.com", "--data", folder)
	}
	must(t, "account", "erase", "a@example.com", "--yes", "--data", folder)
	for command, more := range map[string][]string{
		"backup": nil, "export": nil, "export, encrypted": {"--encrypted"}, "keys backup": nil,
	} {
		t.Run(command, func(t *testing.T) {
			words := strings.Fields(strings.TrimSuffix(command, ", encrypted"))
			copies := filepath.Join(t.TempDir(), "copies")
			if err := os.Mkdir(copies, 0o700); err != nil {
				t.Fatal(err)
			}
			target := copies
			if words[0] != "keys" {
				target = filepath.Join(copies, "copy")
			}
			args := append(append(words, target, "--data", folder), more...)
			failed := 0
			for n := int64(1); ; n += 1 + n/10 {
				if r := runStopping(stopAfter(t, n), args...); r.status == exitDone {
					break
				} else if strings.Contains(r.stdout, "verified") {
					t.Errorf("stopped at the moment %d: printed %s", n, r.stdout)
				}
				empty(t, copies)
				failed++
			}
			if failed < 5 {
				t.Errorf("it was stopped at %d moments only", failed)
			}
			if words[0] == "keys" {
				return
			}
			before, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, exitFailed, konto(t, args...), target+" exists already")
			if after, err := os.ReadFile(target); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the older file was changed: %v", err)
			}
			if entries, _ := os.ReadDir(copies); len(entries) != 1 {
				t.Errorf("beside it are %v", entries)
			}
		})
	}
}

func TestCopiesThatAreRefusedLeaveNothing(t *testing.T) {
	folder := furnished(t)
	tampered := furnished(t)
	must(t, "account", "open", "--email", "bo@example.com", "--data", tampered)
	behind(t, tampered, "log.db", "DROP TRIGGER events_are_never_updated", "UPDATE events SET type = 'Other.v1' WHERE position = 1")
	for what, args := range map[string]string{
		"a folder that is not there": "backup /nowhere/at/all/copy --data " + folder,
		"a name that is too long":    "backup COPIES/" + strings.Repeat("n", 250) + " --data " + folder,
		"no name for the try":        "backup COPIES/" + strings.Repeat("n", 240) + " --data " + folder,
		"a log that is wrong":        "backup COPIES/copy --data " + tampered,
		"an export of it":            "export COPIES/copy --data " + tampered,
	} {
		copies := t.TempDir()
		r := konto(t, strings.Fields(strings.ReplaceAll(args, "COPIES", copies))...)
		if r.status != exitFailed {
			t.Errorf("%s: exit %d: %s%s", what, r.status, r.stdout, r.stderr)
		}
		empty(t, copies)
	}
}

func TestKeysBackupWithoutTheListOfErasuresLeavesNothing(t *testing.T) {
	folder, copies := furnished(t), t.TempDir()
	must(t, "account", "erase", "anna@example.com", "--yes", "--data", folder)
	serve(t, folder)
	ledger := filepath.Join(folder, erasure.LedgerName)
	if err := os.Rename(ledger, ledger+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(ledger, 0o700); err != nil {
		t.Fatal(err)
	}
	refused(t, exitFailed, konto(t, "keys", "backup", copies, "--data", folder), "no backup of the keys was made")
	empty(t, copies)
	if err := os.Remove(ledger); err != nil || os.Rename(ledger+".away", ledger) != nil {
		t.Fatal(err)
	}
}

func TestTransactionThatEndedWithItsContextIsACleanExit(t *testing.T) {
	ended := fmt.Errorf("open log.db: %w", sql.ErrTxDone)
	if err := ignoreStop(t.Context(), ended); err == nil {
		t.Error("a transaction that ended without a stop is no error")
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := ignoreStop(ctx, ended); err != nil {
		t.Errorf("after a stop: %v", err)
	}
}
