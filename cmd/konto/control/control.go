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

// Request asks the holder of a data folder to run a command. The answer's body
// is what the command prints, in frames, its trailer how the command ended.
type Request struct {
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

// Task is a command that was asked for.
type Task struct {
	Run     func(ctx context.Context, out *Output) error
	Endless bool // it runs until it is interrupted
}

// Socket is the server's end of the control socket.
type Socket struct {
	folder   string
	find     Finder
	listener net.Listener
}

// Finder returns the task for the path of a command, such as "account open", and its
// members as JSON.
type Finder func(command string, input []byte) (Task, error)

// Listen makes the control socket of a folder whose lock the caller holds.
func Listen(folder string, find Finder) (*Socket, error) {
	listener, err := listenSocket(folder)
	if err != nil {
		return nil, err
	}
	return &Socket{folder: folder, find: find, listener: listener}, nil
}

// Run lets commands in until ctx ends, and then waits, bounded, for those that
// are under way. Endless ones end with ctx.
func (c *Socket) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(ctx, w, r) }),
		ReadHeaderTimeout: 10 * time.Second,
	}
	// The file goes before the door closes: who does not find it waits for the
	// lock, and does not knock in vain.
	defer context.AfterFunc(ctx, c.unlink)()
	if err := ServeUntil(ctx, server, c.listener); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// Close takes the door away that Run did not.
func (c *Socket) Close() {
	c.unlink()
	c.listener.Close()
}

func (c *Socket) unlink() { os.Remove(filepath.Join(c.folder, SocketName)) }

// serve answers one request; the endless commands end when door does.
func (c *Socket) serve(door context.Context, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", outcomeTrailer)
	w.WriteHeader(http.StatusOK)
	err := c.do(door, w, r)
	outcome := outcomeOK
	if err != nil {
		outcome = url.PathEscape(Sentence(err))
	}
	w.Header().Set(outcomeTrailer, outcome)
}

func (c *Socket) do(door context.Context, w http.ResponseWriter, r *http.Request) error {
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
		defer context.AfterFunc(door, cancel)()
	}
	err = found.Run(ctx, out)
	if err == nil && ctx.Err() != nil && door.Err() != nil {
		err = errServerStopped
	}
	return errors.Join(err, out.Flush())
}
