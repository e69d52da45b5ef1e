package server

import (
	"bytes"
	"log"
	"log/slog"
	"strings"
	"testing"
)

func TestConnectionsThatCannotBeAcceptedAreAWarning(t *testing.T) {
	var text bytes.Buffer
	web := log.New(httpErrors{slog.New(slog.NewTextHandler(&text, nil))}, "", 0) // at info
	web.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
	web.Print("http: Accept error: accept tcp: too many open files; retrying in 5ms")
	if got := text.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "too many open files") {
		t.Errorf("logged %s", got)
	}
}
