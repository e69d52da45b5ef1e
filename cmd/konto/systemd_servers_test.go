//go:build servers

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnitsAreCleanAndHardened(t *testing.T) {
	folder, program := t.TempDir(), binary(t)
	for name, text := range deployed(t) {
		if strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".timer") {
			text = strings.ReplaceAll(text, "/usr/local/bin/konto ", program+" ")
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, unit := range []string{"konto.service", "konto-backup.service", "konto-backup.timer"} {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(folder, unit)).CombinedOutput()
		if err != nil || strings.Contains(string(out), unit) {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", filepath.Join(folder, "konto.service")).CombinedOutput()
	if err != nil {
		t.Errorf("konto.service is more exposed than 1.5 of 10: %v\n%s", err, out)
	}
}

func TestCaddysExampleIsValid(t *testing.T) {
	out, err := exec.Command("caddy", "adapt", "--validate", "--config", "deploy/Caddyfile", "--adapter", "caddyfile").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
