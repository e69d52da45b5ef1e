package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// What konto writes is for its own user alone; SQLite and nats-server would
	// let others read it.
	syscall.Umask(0o077)
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals // begins an ordered end
		cancel()
		<-signals // is in a hurry
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
	line, err := parse(args, stdout)
	if errors.Is(err, errHelpShown) {
		return exitDone
	}
	if err != nil {
		fmt.Fprintf(stderr, "konto: %s\n", err)
		return exitUsage
	}
	if err := line.execute(ctx, stdin, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "konto: %s\n", sentence(err))
		return exitFailed
	}
	return exitDone
}
