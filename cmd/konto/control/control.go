package control

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

// Request asks the process that holds a data folder to run a command. The body of the answer
// is what the command prints, in frames. The trailer says how the command ended.
type Request struct {
	Command string         `json:"command"` // its path, such as "account open"
	Input   jsontext.Value `json:"input"`
	JSON    bool           `json:"json"`
}

// outcomeTrailer is "ok" or the error as a sentence, path-escaped. If the connection breaks
// there is no trailer, and the outcome is not known.
const (
	outcomeTrailer = "Konto-Outcome"
	outcomeOK      = "ok"
)

var errServerStopped = errors.New("the server stopped")

// Task is a command that was requested.
type Task struct {
	Run     func(ctx context.Context, out *Output) error
	Endless bool // it runs until it is interrupted
}

// Socket is the control socket of the process that holds a data folder.
type Socket struct {
	folder   string
	find     Finder
	listener net.Listener
}

// Finder returns the task for the path of a command, such as "account open", and its members
// as JSON.
type Finder func(command string, input []byte) (Task, error)

// Listen makes the control socket of a folder. The caller holds the folder's lock.
func Listen(folder string, find Finder) (*Socket, error) {
	listener, err := listenSocket(folder)
	if err != nil {
		return nil, err
	}
	return &Socket{folder: folder, find: find, listener: listener}, nil
}

// Run runs the commands that are requested until ctx ends. Then it waits, bounded, for those
// that are running; endless ones end with ctx.
func (c *Socket) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(ctx, w, r) }),
		ReadHeaderTimeout: 10 * time.Second,
	}
	// The file is removed before the listener is closed: a caller that does not find the file
	// waits for the lock and does not connect in vain.
	defer context.AfterFunc(ctx, c.unlink)()
	if err := ServeUntil(ctx, server, c.listener); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// Close removes a socket on which Run was never called.
func (c *Socket) Close() {
	c.unlink()
	c.listener.Close()
}

func (c *Socket) unlink() { os.Remove(filepath.Join(c.folder, SocketName)) }

// serve answers one request. Endless commands end when stopping does.
func (c *Socket) serve(stopping context.Context, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", outcomeTrailer)
	w.WriteHeader(http.StatusOK)
	err := c.do(stopping, w, r)
	outcome := outcomeOK
	if err != nil {
		outcome = url.PathEscape(Sentence(err))
	}
	w.Header().Set(outcomeTrailer, outcome)
}

func (c *Socket) do(stopping context.Context, w http.ResponseWriter, r *http.Request) error {
	var asked Request
	if err := json.UnmarshalRead(r.Body, &asked, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("the server does not understand this version of konto: %w", err)
	}
	found, err := c.find(asked.Command, asked.Input)
	if err != nil {
		return err
	}
	to := frames{w, http.NewResponseController(w)}
	out := NewMeteredOutput(to, asked.JSON, to)
	ctx := r.Context() // ends when the client goes away
	if found.Endless {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(stopping, cancel)()
	}
	err = found.Run(ctx, out)
	if err == nil && ctx.Err() != nil && stopping.Err() != nil {
		err = errServerStopped
	}
	return errors.Join(err, out.Flush())
}
