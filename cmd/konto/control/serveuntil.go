package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// DrainTime bounds each step of an ordered end: running requests, then followers. What is not
// done by then is done after the next start.
const DrainTime = 5 * time.Second

// ServeUntil serves HTTP until ctx ends, and then until the running requests are answered, for
// at most DrainTime.
func ServeUntil(ctx context.Context, server *http.Server, listener net.Listener) error {
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainTime)
		defer cancel()
		err := server.Shutdown(bounded)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close() // slower requests are cut off
		}
		closed <- err
	})
	err := server.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) {
		return <-closed
	}
	stop()
	return err
}
