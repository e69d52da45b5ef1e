package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"konto/cmd/konto/control"
)

type healthCommand struct {
	Timeout time.Duration `name:"timeout" default:"5s" placeholder:"DURATION" help:"How long the server may take to answer; ${default} unless given." json:"-"`
}

func (c *healthCommand) Help() string {
	return `Asks the server that runs on the data folder for GET /readyz, over its own HTTP address, and prints
the answer. The exit status is 0 if the server takes updates, and 1 if it does not, does not answer
in time, or does not run. No file is opened.

Examples:

    konto health
    konto health --data /var/lib/konto --timeout 2s`
}

// Validate is called by kong.
func (c *healthCommand) Validate() error {
	if c.Timeout <= 0 {
		return errors.New("--timeout must be above 0")
	}
	return nil
}

var errNotReady = errors.New("the server does not take updates")

// health is what konto health prints.
type health struct {
	Ready bool     `json:"ready"`
	Says  []string `json:"says"` // the lines of /readyz
}

// run asks the server over the control socket, and never opens the folder itself. A server that
// hangs still accepts the connection, and then does not answer.
func (c *healthCommand) run(ctx context.Context, l *line, stdout, _ io.Writer) error {
	bounded, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	out := control.NewOutput(stdout, l.json)
	answered, err := control.Ask(bounded, l.folder(), control.Request{Command: l.path, Input: []byte("{}"), JSON: l.json}, out)
	switch {
	case !answered:
		return fmt.Errorf("no server runs on %s", l.folder())
	case err != nil && bounded.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("the server does not answer within %s", c.Timeout)
	}
	return err
}

// Run runs in the process of the server.
func (c *healthCommand) Run(ctx context.Context, on *opened, out *control.Output) error {
	if on.Server == nil {
		return fmt.Errorf("no server runs on %s", on.Path)
	}
	ready, text, err := on.Server.Ready(ctx)
	if err != nil {
		return fmt.Errorf("the server does not answer over HTTP: %w", err)
	}
	says := strings.Split(text, "\n")
	if out.JSON {
		err = out.Object(health{ready, says})
	} else {
		for _, line := range says {
			err = errors.Join(err, out.Line("%s", line))
		}
	}
	if err != nil {
		return err
	}
	if !ready {
		return errNotReady
	}
	return nil
}
