package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"konto/cmd/konto/server"
)

// tellSystemd tells a service manager (Type=notify) that konto is ready, and then, if it has a
// watchdog, that konto still answers, until ctx ends. Without a service manager it does nothing.
func tellSystemd(ctx context.Context, s *server.Server, log *slog.Logger) error {
	notify(daemon.SdNotifyReady, log)
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil || patience == 0 {
		return err
	}
	for ticks := time.Tick(patience / 3); ; {
		s.Answer(ctx) // if it never returns, the watchdog ends the process
		notify(daemon.SdNotifyWatchdog, log)
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
	}
}

func notify(state string, log *slog.Logger) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("cannot notify the service manager", "error", err)
	}
}
