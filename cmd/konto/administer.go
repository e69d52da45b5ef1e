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

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
)

// A data folder that is locked but does not answer is held by a server that
// starts or stops, or by another command. They are done within startTime, or
// something is wrong with them.
const (
	startTime = 10 * time.Second
	askAgain  = 20 * time.Millisecond
)

// administer runs an administrative command: on the files when nobody holds
// them, else by asking their holder.
func administer(ctx context.Context, l *line, out *control.Output, stderr io.Writer) error {
	first, begins := l.command.(beginner)
	cfg := datafolder.Config{
		Path: l.folder(), Holder: "konto " + l.path,
		// A folder that nobody named is the wrong one as often as not.
		Begin: begins && l.data != "" && first.begins(),
		// A command's own error says it all; what a follower logs is for servers.
		Log:  slog.New(slog.DiscardHandler),
		Warn: func(text string) { fmt.Fprintf(stderr, "konto: %s\n", text) },
	}
	_, cfg.Examine = l.command.(examiner)
	h, err := enter(ctx, cfg, func(error) (bool, error) { return ask(ctx, l, out) })
	if h == nil {
		return err
	}
	if h.Begun {
		tellBegun(stderr, h.Path)
	}
	return errors.Join((&opened{Folder: h}).do(ctx, l.command.(command), out), h.Close())
}

// opened is an open data folder, and the server that runs on it.
type opened struct {
	*datafolder.Folder
	server *server.Running // nil where no server runs
}

// command is an administrative command.
type command interface {
	// Run does the command in a folder whose follower runs. It may be called in
	// another process than the one whose command line was parsed, so it uses
	// nothing but its exported members and its parameters.
	Run(ctx context.Context, h *opened, out *control.Output) error
}

// inputReader is a command that takes something from standard input before it runs.
type inputReader interface{ readInput(stdin io.Reader) error }

// endless is a command that runs until it is interrupted.
type endless interface{ endless() }

// examiner is a command that must see a folder as it is: no file is made anew
// because it does not fit the log, and nothing follows the log beside it.
type examiner interface{ examines() }

// do runs one command in a folder on which no server runs. A command that runs until
// it is interrupted lets others in meanwhile.
func (on *opened) do(ctx context.Context, c command, out *control.Output) error {
	err := on.Follow(ctx, func(ctx context.Context) error {
		if _, ok := c.(endless); !ok {
			return c.Run(ctx, on, out)
		}
		door, err := control.Listen(on.Path, finderOf(on))
		if err != nil {
			return err
		}
		defer door.Close()
		ctx, cancel := context.WithCancel(ctx)
		var beside sync.WaitGroup
		beside.Go(func() { door.Run(ctx) })
		defer beside.Wait()
		defer cancel()
		return c.Run(ctx, on, out)
	})
	return errors.Join(err, out.Flush())
}

// finderOf returns what finds the commands that are asked for over the control socket
// of an open folder.
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

// beginner is a command that may be the first in a new konto. The others would find
// nothing there to show or to change.
type beginner interface{ begins() bool }

func (*accountOpen) begins() bool   { return true }
func (*accountImport) begins() bool { return true }
func (*thirdPartyAdd) begins() bool { return true }
func (c *keyIssue) begins() bool    { return c.Account == "" }
func (c *sessionOpen) begins() bool { return c.Account == "" }

// tellBegun tells that there was no konto in a folder, for those who thought that
// there was one.
func tellBegun(stderr io.Writer, folder string) {
	fmt.Fprintf(stderr, "konto: a new konto was begun in %s\n", datafolder.Absolute(folder))
}

// enter opens a house. While another process has it, ask is called to find out
// whether that one answers on its control socket; if so, enter ends with no
// house and ask's error. Who holds the folder and does not answer is about to
// answer or to leave.
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

// enterAlone opens a house for a server. A folder that another server holds is
// an error at once; one that a passing command holds is waited for.
func enterAlone(ctx context.Context, cfg datafolder.Config) (*datafolder.Folder, error) {
	return enter(ctx, cfg, func(held error) (bool, error) {
		conn, err := control.Dial(ctx, cfg.Path)
		if err != nil {
			return false, nil
		}
		return true, errors.Join(held, conn.Close())
	})
}

// ask has the holder of the folder run the command. It tells whether there was
// anyone to ask; if so, the error is the command's.
func ask(ctx context.Context, l *line, out *control.Output) (answered bool, err error) {
	// A flag that was not given must reach the holder as just that.
	input, err := json.Marshal(l.command, json.FormatNilSliceAsNull(true))
	if err != nil {
		return true, err
	}
	return control.Ask(ctx, l.folder(), control.Request{Command: l.path, Input: input, JSON: l.json}, out)
}
