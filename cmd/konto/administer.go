package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/events"
)

// If a data folder is locked and its holder does not answer, the holder is a server that starts
// or stops, or another command. Each takes less than startTime, except if something is wrong.
const (
	startTime = 10 * time.Second
	askAgain  = 20 * time.Millisecond
)

// administer runs an administrative command. If a process holds the files, the command runs in
// that process. If not, it runs here.
func administer(ctx context.Context, l *line, out *control.Output, stderr io.Writer) error {
	first, begins := l.command.(beginner)
	cfg := datafolder.Config{
		Path: l.folder(), Holder: "konto " + l.path, Postgres: l.postgres,
		// A new konto in the default folder is often a mistake: see DESIGN.md.
		Begin: begins && l.data != "" && first.begins(),
		// A command returns its error. What a follower logs is for servers.
		Log:  slog.New(slog.DiscardHandler),
		Warn: func(text string) { fmt.Fprintf(stderr, "konto: %s\n", text) },
	}
	_, cfg.Examine = l.command.(examiner)
	h, err := enter(ctx, cfg, func(error) (bool, error) { return ask(ctx, l, out) })
	if h == nil {
		return err
	}
	if h.Begun {
		reportBegun(stderr, h.Path)
	}
	return errors.Join(runOn(ctx, &opened{Folder: h}, l.command.(command), out), h.Close())
}

// opened is an open data folder and the server that runs on it. Its methods are the operations.
type opened = admin.Konto

// command is an administrative command.
type command interface {
	// Run runs the command in a folder whose follower runs. The process may be another than
	// the one that parsed the command line, so Run uses only exported members and its
	// parameters.
	Run(ctx context.Context, h *opened, out *control.Output) error
}

// audit logs an act of the operator, before it begins, that makes no event.
func audit(on *opened, act string) {
	on.Acted(events.Metadata{Actor: events.Actor{Kind: "operator"}}, act)
}

// inputReader is a command that reads standard input before it runs.
type inputReader interface{ readInput(stdin io.Reader) error }

// endless is a command that runs until it is interrupted.
type endless interface{ endless() }

// examiner is a command that must see a folder as it is: no file is made again because it does
// not fit the log, and nothing follows the log meanwhile.
type examiner interface{ examines() }

// runOn runs one command in a folder on which no server runs. During an endless command, other
// commands can be requested over the control socket.
func runOn(ctx context.Context, on *opened, c command, out *control.Output) error {
	err := on.Follow(ctx, func(ctx context.Context) error {
		if _, ok := c.(endless); !ok {
			return c.Run(ctx, on, out)
		}
		socket, err := control.Listen(on.Path, finderOf(on))
		if err != nil {
			return err
		}
		defer socket.Close()
		ctx, cancel := context.WithCancel(ctx)
		var background sync.WaitGroup
		background.Go(func() { socket.Run(ctx) })
		defer background.Wait()
		defer cancel()
		return c.Run(ctx, on, out)
	})
	return errors.Join(err, out.Flush())
}

// finderOf returns the Finder for an open folder: what runs commands that are requested over
// its control socket.
func finderOf(on *opened) control.Finder {
	return func(path string, input []byte) (control.Task, error) {
		c := commandAt(path)
		if c == nil {
			return control.Task{}, fmt.Errorf("the server is another version of konto and does not know %q", path)
		}
		if err := json.Unmarshal(input, c, json.RejectUnknownMembers(true)); err != nil {
			return control.Task{}, fmt.Errorf("the server is another version of konto: %w", err)
		}
		_, runsOn := c.(endless)
		return control.Task{Run: func(ctx context.Context, out *control.Output) error { return c.Run(ctx, on, out) }, Endless: runsOn}, nil
	}
}

// beginner is a command that may be the first one in a new folder. All others would find
// nothing there.
type beginner interface{ begins() bool }

func (*accountOpen) begins() bool   { return true }
func (*accountImport) begins() bool { return true }
func (*thirdPartyAdd) begins() bool { return true }
func (c *keyIssue) begins() bool    { return c.Account == "" }
func (c *sessionOpen) begins() bool { return c.Account == "" }

// reportBegun prints that a new konto was begun in a folder, because the user may have expected
// an existing one.
func reportBegun(stderr io.Writer, folder string) {
	fmt.Fprintf(stderr, "konto: a new konto was begun in %s\n", datafolder.Absolute(folder))
}

// enter opens a folder. While another process holds it, enter calls ask, which says whether
// that process answers on its control socket. If it answers, enter returns no folder and ask's
// error. If it does not answer, it is starting or ending, and enter tries again.
func enter(ctx context.Context, cfg datafolder.Config, ask func(held error) (answered bool, err error)) (*datafolder.Folder, error) {
	deadline := time.Now().Add(startTime)
	for {
		h, err := datafolder.Open(ctx, cfg)
		var held *datafolder.Locked
		if !errors.As(err, &held) {
			return h, err
		}
		answered, err := ask(held)
		switch {
		case answered:
			return nil, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case time.Now().After(deadline):
			return nil, fmt.Errorf("%w, which does not answer", held)
		}
		select {
		case <-ctx.Done():
		case <-time.After(askAgain):
		}
	}
}

// enterAlone opens a folder for a server. If another server holds the folder, that is an error
// at once. If a command holds it, enterAlone waits.
func enterAlone(ctx context.Context, cfg datafolder.Config) (*datafolder.Folder, error) {
	return enter(ctx, cfg, func(held error) (bool, error) {
		conn, err := control.Dial(ctx, cfg.Path)
		if err != nil {
			return false, nil
		}
		return true, errors.Join(held, conn.Close())
	})
}

// ask asks the process that holds the folder to run the command. answered is false if there
// was no process to ask.
func ask(ctx context.Context, l *line, out *control.Output) (answered bool, err error) {
	// A flag that was not given must not arrive as an empty one.
	input, err := json.Marshal(l.command, json.FormatNilSliceAsNull(true))
	if err != nil {
		return true, err
	}
	return control.Ask(ctx, l.folder(), control.Request{Command: l.path, Input: input, JSON: l.json}, out)
}
