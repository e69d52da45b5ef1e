package main

import (
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestServiceManagerIsNotified(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	next := func() string {
		t.Helper()
		message := make([]byte, 100)
		n, err := manager.Read(message)
		if err != nil {
			t.Fatal(err)
		}
		return string(message[:n])
	}
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "30000")
	server, _, _ := serve(t, t.TempDir())
	if got, want := []string{next(), next(), next()}, []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	server.cancel()
	for next() != "STOPPING=1" {
	}
	if status := server.stop(); status != exitDone {
		t.Errorf("ended with %d", status)
	}
}
