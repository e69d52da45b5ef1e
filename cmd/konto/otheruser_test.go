package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// otherUser is the user that konto runs as in these tests, when they run as root,
// whom no mode keeps from a file.
const otherUser = 65534

// asStranger is a command of a user who may not do everything.
func asStranger(t *testing.T, folder string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	if os.Getuid() != 0 {
		return cmd
	}
	// Its path, and that of the program, are this process's own: others may pass.
	for _, path := range []string{filepath.Dir(folder), filepath.Dir(binary(t))} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUser, Gid: otherUser}}
	return cmd
}

func give(t *testing.T, folder string, uid int) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A file that root made, or another user, was once enough to lose all dead letters
// and the durables' places.
func TestFilesOfAnotherUserKeepNATSFromStarting(t *testing.T) {
	folder := t.TempDir()
	server, _, nats := serve(t, folder)
	registry := newSender(t, folder, nats, "registry")
	for range 20 {
		registry.send("no fact")
	}
	letters := func() int { return len(mustLines(t, "inbound", "dead-letters", "--data", folder)) }
	for deadline := time.Now().Add(patience); letters() < 20; {
		if time.Now().After(deadline) {
			t.Fatal("the messages are no dead letters")
		}
	}
	server.stop()
	var files []string
	for _, pattern := range []string{"KONTO_INBOUND_DEAD/meta.inf", "KONTO_INBOUND_DEAD/msgs/*.blk", "KONTO_INBOUND*/msgs/index.db", "KONTO_INBOUND*/msgs/*.key", "KONTO_INBOUND/obs/*/o.dat", "KONTO/obs/konto-mailer/meta.*"} {
		found, err := filepath.Glob(filepath.Join(folder, "jetstream/jetstream/$G/streams", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s, %v", pattern, err)
		}
		files = append(files, found...)
	}
	// serve starts konto and returns what it said until it was ready or ended.
	serve := func() (said string, end func()) {
		cmd := asStranger(t, folder, "serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-listen", "off")
		stderr := newWatched()
		cmd.Stderr = stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stderr.find(t, regexp.MustCompile("konto is ready|(?m)^konto: .*\n"))
		return stderr.String(), func() {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	for _, file := range files {
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			give(t, folder, otherUser)
			give(t, file, 0)
		}
		said, end := serve()
		end()
		if !strings.Contains(said, file+": permission denied") {
			t.Errorf("konto said %s", said)
		}
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		give(t, folder, otherUser)
	}
	said, end := serve()
	defer end()
	// In a process of its own, because root's acts as the folder's owner from here on.
	left, err := asStranger(t, folder, "inbound", "dead-letters", "--data", folder, "--json").Output()
	if n := strings.Count(string(left), "\n"); err != nil || n != 20 {
		t.Errorf("%d dead letters of 20 are left, %v", n, err)
	}
	if strings.Contains(said, "damaged") {
		t.Errorf("something was called damaged: %s", said)
	}
}
