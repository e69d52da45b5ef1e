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

// ServeUntil serves HTTP, or HTTPS if the server has a TLSConfig, until ctx ends, and then until the
// running requests are answered, for at most DrainTime.
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
	serve := server.Serve
	if server.TLSConfig != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	err := serve(listener)
	if errors.Is(err, http.ErrServerClosed) {
		return <-closed
	}
	stop()
	return err
}
