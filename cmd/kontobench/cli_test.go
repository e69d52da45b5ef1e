package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongUsage(t *testing.T) {
	for _, args := range []string{
		"nonsense",
		"--data=",
		"--accounts 0",
		"--connections 0",
		"--seconds 0",
		"--seconds NaN",
		"--url http://127.0.0.1:8080",
		"--targets file",
		"--targets file --url 127.0.0.1:8080",
		"--targets file --url http://127.0.0.1:8080/api",
		"--targets file --url http://127.0.0.1:8080 --growth",
		"--prepare folder --growth",
		"--growth --events 1000,100",
		"--growth --events 1",
		"--growth --of-accounts 0,10",
	} {
		t.Run(args, func(t *testing.T) {
			refused(t, exitUsage, kontobench(t, strings.Fields(args)...), "see kontobench --help)")
		})
	}
}

func TestHelpHasExamples(t *testing.T) {
	r := kontobench(t, "--help")
	if r.status != exitDone || r.stderr != "" || strings.Count(r.stdout, "Examples:") != 1 || !strings.Contains(r.stdout, "    kontobench --growth") {
		t.Errorf("exit %d: %s%s", r.status, r.stdout, r.stderr)
	}
}

func TestKontoIsNamedOrBesideKontobenchOrInPATH(t *testing.T) {
	data := filepath.Join(t.TempDir(), "konto-data")
	none := filepath.Join(t.TempDir(), "none")
	refused(t, exitFailed, kontobench(t, "--data", data, "--konto", none), none)
	t.Setenv("PATH", t.TempDir())
	refused(t, exitFailed, kontobench(t, "--data", data), "go build ./cmd/konto", "--konto")
	path := program(t, "konto")
	t.Setenv("PATH", filepath.Dir(path))
	if found, err := findKonto(""); err != nil || found != path {
		t.Errorf("in PATH: %s, %v", found, err)
	}
	empty(t, filepath.Dir(data))
}
