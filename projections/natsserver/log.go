package natsserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"konto/projections"
)

// logger writes the server's log to slog. It keeps the first fatal line, because the server reports in
// no other way that it could not start. A fatal line does not end the process.
type logger struct {
	log     *slog.Logger
	limiter projections.LogLimiter

	mu    sync.Mutex
	fatal error
}

// Noticef logs what the server does at every start and stop.
func (l *logger) Noticef(format string, v ...any) { l.log.Debug(line(format, v)) }

func (l *logger) Warnf(format string, v ...any)  { l.trouble(slog.LevelWarn, line(format, v)) }
func (l *logger) Errorf(format string, v ...any) { l.trouble(slog.LevelError, line(format, v)) }
func (l *logger) Debugf(format string, v ...any) { l.log.Debug(line(format, v)) }
func (l *logger) Tracef(format string, v ...any) { l.log.Debug(line(format, v)) }

func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = errors.New(strings.TrimSpace(fmt.Sprintf(format, v...)))
	}
}

func (l *logger) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// trouble logs a line. A client can cause one with each message that it sends, for example that it
// lacks a permission. Of the lines that differ only in the client and in what it sent, one a minute is
// logged.
func (l *logger) trouble(level slog.Level, line string) {
	leftOut, ok := l.limiter.Allow(varying.ReplaceAllString(line, ""))
	switch {
	case !ok:
	case leftOut > 0:
		l.log.Log(context.Background(), level, line, "alike and left out", leftOut)
	default:
		l.log.Log(context.Background(), level, line)
	}
}

// varying are the parts of a line that depend on the client: its address, the numbers of its connection
// and subscription, and quoted text.
var varying = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[0-9a-fA-F.:]*[0-9][0-9a-fA-F.:]*`)

func line(format string, v []any) string {
	return "NATS: " + strings.TrimSpace(fmt.Sprintf(format, v...))
}
