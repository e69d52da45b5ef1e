package main

import (
	"crypto/rand"
	"encoding/hex"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"konto/cmd/konto/copies"
	"konto/cmd/konto/datafolder"
)

// newMaster is a master key as the environment gives it.
func newMaster() string {
	var key [32]byte
	rand.Read(key[:])
	return hex.EncodeToString(key[:])
}

// expectReadable opens a folder's files and reads every event, which takes every
// key.
func expectReadable(t *testing.T, folder string, atLeast int) {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	n := 0
	for {
		page, err := h.Store.ReadAll(t.Context(), uint64(n), datafolder.PageSize)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if e.Shredded {
				t.Fatalf("the key of %s is destroyed", e.Stream)
			}
		}
		n += len(page)
	}
	if n < atLeast {
		t.Errorf("%d events, not %d", n, atLeast)
	}
}

func TestRotationMakesAnotherMasterKey(t *testing.T) {
	withAndWithoutAServer(t, func(t *testing.T, folder string) {
		must(t, "account", "open", "--email", "anna@example.com", "--data", folder)
		master := filepath.Join(folder, "master.key")
		before, err := os.ReadFile(master)
		if err != nil {
			t.Fatal(err)
		}
		printed := mustJSON(t, "keys", "rotate", "--data", folder)
		if n := printed["rotated"].(float64); n < 2 || printed["notice"] != copies.OlderCopies { // the root key, and Anna's
			t.Errorf("%v", printed)
		}
		after, err := os.ReadFile(master)
		if err != nil || string(after) == string(before) {
			t.Errorf("the master key is the old one, %v", err)
		}
		if shown := mustJSON(t, "account", "show", "anna@example.com", "--data", folder); shown["email"] != "anna@example.com" {
			t.Errorf("%v", shown)
		}
		t.Setenv("KONTO_NEXT_MASTER_KEY", newMaster())
		refused(t, exitFailed, konto(t, "keys", "rotate", "--data", folder), "is in master.key")
	})
}

// The server's own environment stays as it was at its start, as the
// environment of another process does.
func TestRotationTakesTheNextMasterKeyFromItsCaller(t *testing.T) {
	folder := t.TempDir()
	first, second := newMaster(), newMaster()
	t.Setenv("KONTO_MASTER_KEY", first)
	p := startProcess(t, folder)
	must(t, "account", "open", "--email", "anna@example.com", "--data", folder)
	refused(t, exitFailed, konto(t, "keys", "rotate", "--data", folder), "KONTO_NEXT_MASTER_KEY")
	t.Setenv("KONTO_NEXT_MASTER_KEY", "not hex: "+second)
	r := konto(t, "keys", "rotate", "--data", folder)
	refused(t, exitFailed, r, "KONTO_NEXT_MASTER_KEY is not 64 hex digits")
	said := r.stderr
	t.Setenv("KONTO_NEXT_MASTER_KEY", second)
	printed := must(t, "keys", "rotate", "--data", folder)
	if !strings.Contains(printed, "set KONTO_MASTER_KEY to the value of KONTO_NEXT_MASTER_KEY before the next start; "+copies.OlderCopies) {
		t.Errorf("%s", printed)
	}
	if said += printed + p.stderr.String(); strings.Contains(said, second) || strings.Contains(said, first) {
		t.Error("a master key was printed")
	}
	must(t, "account", "open", "--email", "bo@example.com", "--data", folder)
	// The copy that replaces those from before is tried with the new key.
	must(t, "keys", "backup", t.TempDir(), "--data", folder)
	refused(t, exitFailed, konto(t, "keys", "rotate", "--data", folder), "KONTO_NEXT_MASTER_KEY is the present master key")
	p.kill()
	t.Setenv("KONTO_NEXT_MASTER_KEY", "")
	if r := konto(t, "account", "list", "--data", folder); r.status != exitFailed {
		t.Errorf("the old master key still opens: %s", r.stdout)
	}
	t.Setenv("KONTO_MASTER_KEY", second)
	expectReadable(t, folder, 2)
}

func TestNoRotationThatIsKilledLosesAKey(t *testing.T) {
	for name, given := range map[string]bool{"in a file": false, "in the environment": true} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if given {
				t.Setenv("KONTO_MASTER_KEY", newMaster())
			}
			writers := newWriters(t, folder)
			if r := konto(t, "account", "import", tenThousand(t, "m"), "--data", folder); r.status != exitDone {
				t.Fatal(r.stderr)
			}
			cutOff := 0
			// Each takes some seconds, and a rotation has few moments to be killed in.
			for round := range max(1, min(*rounds/2, 20)) {
				if given {
					t.Setenv("KONTO_NEXT_MASTER_KEY", newMaster())
				}
				p := startProcess(t, folder)
				rotated := make(chan error, 1)
				rotate := exec.Command(binary(t), "keys", "rotate", "--data", folder)
				go func() { rotated <- rotate.Run() }()
				kill := time.Duration(mathrand.IntN(400)) * time.Millisecond // a random moment of it
				loadFor(t, p, writers, kill)
				if <-rotated != nil {
					cutOff++
				}
				checkLog(t, folder, writers)
				expectReadable(t, folder, 10_000)
				if given { // whatever it came to: the operator finishes it
					must(t, "keys", "rotate", "--data", folder)
					t.Setenv("KONTO_MASTER_KEY", os.Getenv("KONTO_NEXT_MASTER_KEY"))
					t.Setenv("KONTO_NEXT_MASTER_KEY", "")
					expectReadable(t, folder, 10_000)
				}
				if t.Failed() {
					t.Fatalf("in round %d, killed after %s", round+1, kill)
				}
			}
			t.Logf("%d rotations were cut off", cutOff)
		})
	}
}
