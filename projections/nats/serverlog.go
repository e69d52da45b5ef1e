package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// logger passes the server's log on to slog. It keeps the first fatal line,
// which is the only form in which the server reports that it could not start,
// and does not end the process.
type logger struct {
	log *slog.Logger

	mu    sync.Mutex
	fatal error
}

// Noticef is for what the server does at every start and stop.
func (l *logger) Noticef(format string, v ...any) { l.log.Debug(line(format, v)) }

func (l *logger) Warnf(format string, v ...any)  { l.log.Warn(line(format, v)) }
func (l *logger) Errorf(format string, v ...any) { l.log.Error(line(format, v)) }
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

func line(format string, v []any) string {
	return "NATS: " + strings.TrimSpace(fmt.Sprintf(format, v...))
}
