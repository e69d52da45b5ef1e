package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"konto/cmd/konto/control"
	"konto/cmd/konto/setup"
)

func main() {
	setup.Main(func(ctx context.Context) int { return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr) })
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
