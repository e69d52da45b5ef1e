package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// request asks the holder of a data folder to run a command. The answer's body
// is what the command prints, in frames, its trailer how the command ended.
type request struct {
	Command string         `json:"command"` // its path, such as "account open"
	Input   jsontext.Value `json:"input"`
	JSON    bool           `json:"json"`
}

// outcomeTrailer is "ok", or the sentence that tells the error, path-escaped.
// A connection that breaks has no trailer, and so no outcome.
const (
	outcomeTrailer = "Konto-Outcome"
	outcomeOK      = "ok"
)

var errServerStopped = errors.New("the server stopped")

// task is a command that was asked for.
type task struct {
	run     func(ctx context.Context, out *output) error
	endless bool // it runs until it is interrupted
}

// control is the server's end of the control socket.
type control struct {
	folder   string
	find     finder
	listener net.Listener
}

// finder returns the task for the path of a command, such as "account open", and its
// members as JSON.
type finder func(command string, input []byte) (task, error)

// openControl makes the control socket of a folder whose lock the caller holds.
func openControl(folder string, find finder) (*control, error) {
	listener, err := listenSocket(folder)
	if err != nil {
		return nil, err
	}
	return &control{folder: folder, find: find, listener: listener}, nil
}

// Run lets commands in until ctx ends, and then waits, bounded, for those that
// are under way. Endless ones end with ctx.
func (c *control) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(ctx, w, r) }),
		ReadHeaderTimeout: 10 * time.Second,
	}
	// The file goes before the door closes: who does not find it waits for the
	// lock, and does not knock in vain.
	defer context.AfterFunc(ctx, c.unlink)()
	if err := serveUntil(ctx, server, c.listener); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// close takes the door away that Run did not.
func (c *control) close() {
	c.unlink()
	c.listener.Close()
}

func (c *control) unlink() { os.Remove(filepath.Join(c.folder, socketName)) }

// serve answers one request; the endless commands end when door does.
func (c *control) serve(door context.Context, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", outcomeTrailer)
	w.WriteHeader(http.StatusOK)
	err := c.do(door, w, r)
	outcome := outcomeOK
	if err != nil {
		outcome = url.PathEscape(sentence(err))
	}
	w.Header().Set(outcomeTrailer, outcome)
}

func (c *control) do(door context.Context, w http.ResponseWriter, r *http.Request) error {
	var asked request
	if err := json.UnmarshalRead(r.Body, &asked, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("the server does not understand this version of konto: %w", err)
	}
	found, err := c.find(asked.Command, asked.Input)
	if err != nil {
		return err
	}
	to := frames{w, http.NewResponseController(w)}
	out := newMeteredOutput(to, asked.JSON, to)
	ctx := r.Context() // ends when the client goes away
	if found.endless {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(door, cancel)()
	}
	err = found.run(ctx, out)
	if err == nil && ctx.Err() != nil && door.Err() != nil {
		err = errServerStopped
	}
	return errors.Join(err, out.flush())
}
