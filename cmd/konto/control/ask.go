package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"
)

// Ask asks the process that holds a folder to run a command. answered is false if there was
// nobody to ask; if it is true, the error is the command's.
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
		return errors.New("the server did not tell how the command ended")
	}
	told, err := url.PathUnescape(trailer)
	if err != nil {
		return fmt.Errorf("the server's answer is malformed: %w", err)
	}
	return errors.New(told)
}

// errOutcome returns the error for a connection that broke.
func errOutcome(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the server went away before it told how the command ended: %w", err)
}
