package nats

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

// logger passes the server's log on to slog. It keeps the first fatal line,
// which is the only form in which the server reports that it could not start,
// and does not end the process.
type logger struct {
	log    *slog.Logger
	seldom projections.Seldom

	mu    sync.Mutex
	fatal error
}

// Noticef is for what the server does at every start and stop.
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

// trouble logs a line. A client may cause one with each message that it sends,
// such as that it may not, so of what only differs in the client or in what it
// sent one line a minute is enough.
func (l *logger) trouble(level slog.Level, line string) {
	leftOut, ok := l.seldom.May(differing.ReplaceAllString(line, ""))
	switch {
	case !ok:
	case leftOut > 0:
		l.log.Log(context.Background(), level, line, "alike and left out", leftOut)
	default:
		l.log.Log(context.Background(), level, line)
	}
}

// differing are the server's words for what a client chose: where it comes
// from and the numbers of its connection and subscription, and what is quoted.
var differing = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[0-9a-fA-F.:]*[0-9][0-9a-fA-F.:]*`)

func line(format string, v []any) string {
	return "NATS: " + strings.TrimSpace(fmt.Sprintf(format, v...))
}
