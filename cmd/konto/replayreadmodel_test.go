package main

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"konto/cmd/konto/datafolder"
)

// read reports whether the account is shown with what was acknowledged last.
func (w *writer) reread(client *http.Client, url string) error {
	r, err := http.NewRequest("GET", url+"/api/v2/me", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+w.read)
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %d %s, %v", answer.StatusCode, body, err)
	}
	if version, err := entityVersion(answer.Header); err != nil || version != w.last.version {
		return fmt.Errorf("version %d was acknowledged and %d is shown, %v", w.last.version, version, err)
	}
	if shown := shownValue.FindSubmatch(body); shown == nil || string(shown[1]) != fmt.Sprint(w.last.value) {
		return fmt.Errorf("value %d was acknowledged, but shown is %s", w.last.value, body)
	}
	return nil
}

func TestRequestsAreAnsweredWhileTheReadModelIsRebuilt(t *testing.T) {
	folder := t.TempDir()
	writers := newWriters(t, folder)
	server, url, _ := serve(t, folder, "--rate-limit", "off")
	var over atomic.Bool
	var all sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(writers)}, Timeout: patience}
	defer client.CloseIdleConnections()
	var updates atomic.Int64
	for _, w := range writers {
		all.Go(func() {
			for !over.Load() {
				a, err := w.update(client, url)
				if err == nil {
					w.last = a
					err = w.reread(client, url)
				}
				if err != nil {
					t.Errorf("%s %s: %v", w.method, w.path, err)
					return
				}
				updates.Add(1)
			}
		})
	}
	for range 8 {
		before := updates.Load()
		done := mustJSON(t, "replay", "read-model", "--data", folder)
		if done["exchanged"] != true || len(done["differences"].([]any)) > 0 {
			t.Errorf("%v", done)
		}
		wait(t, func() bool { return updates.Load() >= before+20 || t.Failed() })
	}
	over.Store(true)
	all.Wait()
	if status := server.stop(); status != exitDone || strings.Contains(server.stderr.String(), "level=ERROR") {
		t.Errorf("the server ended with %d: %s", status, server.stderr)
	}
	must(t, "replay", "read-model", "--dry-run", "--data", folder)
}

func TestKilledRebuildLeavesTheOldReadModel(t *testing.T) {
	folder := t.TempDir()
	writers := newWriters(t, folder)
	next := filepath.Join(folder, "read.db.next")
	left := 0
	for round := 0; round < 20 && left < 3; round++ {
		p := startProcess(t, folder, "--rate-limit", "off")
		if _, err := os.Stat(next); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("after a start the half of a file is still there: %v", err)
		}
		for _, w := range writers {
			a, err := w.update(http.DefaultClient, p.url)
			if err != nil {
				t.Fatal(err)
			}
			w.last = a
		}
		rebuilt := make(chan result, 1)
		go func() { rebuilt <- konto(t, "replay", "read-model", "--data", folder) }()
		wait(t, func() bool { return !datafolder.Missing(next) || len(rebuilt) > 0 })
		p.kill()
		if r := <-rebuilt; r.status != exitDone && r.status != exitFailed {
			t.Errorf("the caller ended with %d: %s", r.status, r.stderr)
		}
		if !datafolder.Missing(next) {
			left++
		}
		if r := konto(t, "replay", "read-model", "--dry-run", "--data", folder); r.status != exitDone {
			t.Errorf("after a kill: %s%s", r.stdout, r.stderr)
		}
	}
	if left == 0 {
		t.Error("no kill came while the next file was being made")
	}
	p := startProcess(t, folder)
	for _, w := range writers {
		if err := w.reread(http.DefaultClient, p.url); err != nil {
			t.Error(err)
		}
	}
}

func TestDifferencesAreAFailureOfADryRunOnly(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, folder string){
		"with a server":    func(t *testing.T, folder string) { serve(t, folder) },
		"without a server": func(*testing.T, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			id := mustJSON(t, "account", "open", "--data", folder, "--email", "anna@example.com")["accountId"].(string)
			must(t, "account", "open", "--data", folder, "--email", "beda@example.com")
			must(t, "account", "list", "--data", folder) // waits until both are in the read model
			db, err := sql.Open("sqlite3", filepath.Join(folder, "read.db"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec("DELETE FROM account WHERE id IN (SELECT id FROM account ORDER BY id LIMIT 1)"); err != nil {
				t.Fatal(err)
			}
			db.Close()
			begin(t, folder)
			id = strings.ToUpper(strings.TrimPrefix(id, "acct_"))
			dry := konto(t, "replay", "read-model", "--dry-run", "--json", "--data", folder)
			if dry.status != exitFailed || !strings.Contains(dry.stderr, "differs from the log in 1 rows") || !strings.Contains(dry.stdout, `"missing":1`) || !strings.Contains(dry.stdout, id) {
				t.Errorf("exit %d: %s%s", dry.status, dry.stdout, dry.stderr)
			}
			done := mustJSON(t, "replay", "read-model", "--data", folder)
			if done["exchanged"] != true || len(done["differences"].([]any)) != 1 {
				t.Errorf("%v", done)
			}
			must(t, "replay", "read-model", "--dry-run", "--data", folder)
			must(t, "account", "show", "anna@example.com", "--data", folder)
		})
	}
}

// wait polls until something is so.
func wait(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); {
		if time.Now().After(deadline) {
			t.Fatal("the wait had no end")
		}
		time.Sleep(time.Millisecond)
	}
}
