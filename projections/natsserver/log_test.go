package natsserver

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestClientsCannotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		l := &logger{log: slog.New(slog.NewTextHandler(&text, nil))}
		for i := range 1000 {
			l.Errorf("127.0.0.1:%d - cid:%d - \"v1.53.1:go\" - Publish Violation - Subject %q - inbound.registry", 40_000+i, i, strings.Repeat("x\"", i))
			l.Warnf("[::1]:%d - cid:%d - Slow Consumer", 40_000+i, i)
		}
		if n := strings.Count(text.String(), "\n"); n != 2 {
			t.Fatalf("%d lines", n)
		}
		l.Errorf("JetStream out of resources")
		time.Sleep(time.Minute)
		l.Errorf("127.0.0.1:1 - cid:7 - \"v1.53.1:go\" - Publish Violation - Subject %q - inbound.registry", "x")
		lines := strings.Split(text.String(), "\n")
		if !strings.Contains(lines[2], "out of resources") || !strings.Contains(lines[3], "Publish Violation") || !strings.Contains(lines[3], `"alike and left out"=999`) {
			t.Errorf("logged %q", lines[2:])
		}
	})
}
