package control

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// terminal opens a pseudo-terminal and returns both of its ends.
func terminal(t *testing.T) (watcher, program *os.File) {
	t.Helper()
	watcher, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { watcher.Close() })
	var unlocked, number int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlocked, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, watcher.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return watcher, program
}

func TestTerminalShowsABar(t *testing.T) {
	watcher, program := terminal(t)
	m := NewMeter(program)
	out := NewMeteredOutput(program, false, m)
	out.Progress(250_000, 1_000_000, "events read")
	out.Line("the answer")
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	shown := make([]byte, 4096)
	var all string
	for !strings.Contains(all, "the answer") {
		n, err := watcher.Read(shown)
		if err != nil {
			t.Fatal(err)
		}
		all += string(shown[:n])
	}
	bar, answer, _ := strings.Cut(all, "\r")
	for _, part := range []string{" 25%", "250000/1000000", "events read/"} {
		if !strings.Contains(all, part) {
			t.Errorf("%q does not show %s", all, part)
		}
	}
	// The bar is wiped out before the answer takes its line.
	if lines := strings.Split(answer, "\r"); strings.TrimSpace(lines[len(lines)-2]) != "the answer" {
		t.Errorf("the answer stands in the bar: %q, %q", bar, answer)
	}
}
