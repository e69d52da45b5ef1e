package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	// waits for the lock and does not connect to a server that ends.
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

// Ask asks the process that holds a folder to run a command. answered is false if nothing
// listens on the socket. If it is true, the error is the command's.
func Ask(ctx context.Context, folder string, r Request, out *Output) (answered bool, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return true, err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return Dial(ctx, folder) },
	}}
	defer client.CloseIdleConnections()
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://konto/", bytes.NewReader(body))
	if err != nil {
		return true, err
	}
	answer, err := client.Do(post)
	var unreached *net.OpError
	if errors.As(err, &unreached) && unreached.Op == "dial" {
		return false, unreached
	}
	if err != nil {
		return true, errOutcome(ctx, err)
	}
	defer answer.Body.Close()
	if err := receive(answer.Body, out); err != nil {
		return true, errOutcome(ctx, err)
	}
	return true, outcome(answer.Trailer.Get(outcomeTrailer))
}

// outcome returns how the command ended, as the trailer says.
func outcome(trailer string) error {
	switch trailer {
	case outcomeOK:
		return nil
	case "":
		return errors.New("the server did not say how the command ended")
	}
	text, err := url.PathUnescape(trailer)
	if err != nil {
		return fmt.Errorf("the server's answer is malformed: %w", err)
	}
	return errors.New(text)
}

// errOutcome returns the error for a connection that broke.
func errOutcome(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the connection to the server ended before the command did: %w", err)
}

// frame is a part of the answer to a command that runs in another process.
type frame struct {
	Print    []byte    `json:"print,omitzero"` // any bytes of the command's output; a rune may be cut
	Progress *Progress `json:"progress,omitzero"`
}

// frames sends each frame at once.
type frames struct {
	to      io.Writer
	flusher *http.ResponseController
}

// Write sends printed text.
func (f frames) Write(p []byte) (int, error) {
	if err := f.send(frame{Print: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Show sends progress. It ignores errors: if the caller is gone, the context ends the command.
func (f frames) Show(p Progress) { f.send(frame{Progress: &p}) }

// Clear implements Meter. The bar is drawn by the caller's process.
func (frames) Clear() {}

func (f frames) send(part frame) error {
	if err := json.MarshalWrite(f.to, part); err != nil {
		return err
	}
	return f.flusher.Flush()
}

// receive prints a command's frames to the output of its caller.
func receive(from io.Reader, out *Output) error {
	dec := jsontext.NewDecoder(from)
	for {
		var part frame
		err := json.UnmarshalDecode(dec, &part, json.RejectUnknownMembers(true))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if part.Progress != nil && out.meter != nil {
			out.meter.Show(*part.Progress)
		}
		if _, err := out.direct.Write(part.Print); err != nil {
			return err
		}
	}
}
