package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"konto/cmd/konto/control"
)

// interrupting is a meter that interrupts the command once it has come so far.
type interrupting struct {
	when      func(control.Progress) bool
	interrupt context.CancelFunc
}

func (m interrupting) Show(p control.Progress) {
	if m.when(p) {
		m.interrupt()
	}
}

func (interrupting) Clear() {}

// TestInterruptedExportLeavesNothing interrupts it where it begins to write, and
// where all is written that is to be checked yet.
func TestInterruptedExportLeavesNothing(t *testing.T) {
	h, to := openFolder(t, furnished(t)), t.TempDir()
	for name, when := range map[string]func(control.Progress) bool{
		"at its begin": func(p control.Progress) bool { return p.Done == 0 },
		"at its end":   func(p control.Progress) bool { return p.Done == p.Total },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var said bytes.Buffer
			out := control.NewMeteredOutput(&said, false, interrupting{when, cancel})
			export := &exportCommand{File: filepath.Join(to, "x.ndjson")}
			if err := export.Run(ctx, &opened{Folder: h}, out); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			onlyFile(t, to)
		})
	}
}

// TestExportTakesAwayWhatAKilledOneLeft: it may be in clear.
func TestExportTakesAwayWhatAKilledOneLeft(t *testing.T) {
	folder, to := furnished(t), t.TempDir()
	file := filepath.Join(to, "x.ndjson")
	leave := func() {
		if err := os.WriteFile(file+".partial", []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	must(t, "export", file, "--data", folder)
	onlyFile(t, to, "x.ndjson")
	leave()
	refused(t, exitFailed, konto(t, "export", file, "--data", folder), "exists already")
	onlyFile(t, to, "x.ndjson")
}
