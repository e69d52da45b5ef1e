package nats

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
)

func TestDialRefusesWhatCanNeverBeAServer(t *testing.T) {
	for _, url := range []string{"", "://", "nats://", "nats://user:hush@host:port", "nats://host:99999", "host:0", "http://host", "a b", "host,,other", "nats://u:hush@[::1"} {
		c, err := Dial(url, quiet)
		if err == nil {
			c.Close()
			t.Errorf("%q was taken", url)
		} else if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, url := range []string{"nats://127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1, tls://u:p@[::1]:1", "ws://127.0.0.1:1/path"} {
		for one := range strings.SplitSeq(url, ",") {
			if !address(strings.TrimSpace(one)) {
				t.Errorf("%q was refused", one)
			}
		}
	}
}

func TestServerThatIsAwayIsCalledNotConnected(t *testing.T) {
	var written bytes.Buffer
	r := newRoom(t)
	conn, err := Dial("nats://127.0.0.1:1", quiet)
	must(t, err)
	defer conn.Close()
	p := NewPublisher(PublisherConfig{Conn: conn, Cursors: r.cursors, Store: r.store, Log: slog.New(slog.NewTextHandler(&written, nil))})
	ctx, cancel := context.WithTimeout(t.Context(), 2*retryDelay)
	defer cancel()
	_, _ = p.Position(ctx)
	if log := written.String(); !strings.Contains(log, "NATS is not available: not connected") || strings.Contains(log, "buffer") {
		t.Errorf("log says %s", log)
	}
}
