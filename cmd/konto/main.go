package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"konto/cmd/konto/control"
	"konto/cmd/konto/tune"
)

func main() {
	// Signals come first. Until then SIGTERM ends the process with another status than 0. That
	// is as clean, because nothing is open yet.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// Only konto's user may read what konto writes. SQLite and nats-server make files that others
	// can read.
	syscall.Umask(0o077)
	tune.Runtime()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals // the first ends konto in order
		cancel()
		<-signals // the second ends it at once
		os.Exit(exitFailed)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	stderr = control.Printing{To: stderr}
	for _, warning := range ignoredVariables(os.Environ()) {
		fmt.Fprintf(stderr, "konto: %s\n", warning)
	}
	line, err := parse(args, stdout)
	if errors.Is(err, errHelpShown) {
		return exitDone
	}
	if err != nil {
		fmt.Fprintf(stderr, "konto: %s\n", control.Sentence(err))
		return exitUsage
	}
	if err := line.execute(ctx, stdin, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "konto: %s\n", control.Sentence(err))
		return exitFailed
	}
	return exitDone
}
