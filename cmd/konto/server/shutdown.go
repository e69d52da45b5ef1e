package server

import (
	"context"

	"konto/cmd/konto/control"
)

// drain waits, bounded, until the followers have everything that was acknowledged. The
// listeners are closed, so the log does not grow. It does not wait for a follower in trouble.
func (s *Server) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), control.DrainTime)
	defer cancel()
	head, err := s.folder.Store.Head(ctx)
	if err != nil {
		s.log.Warn("cannot tell how far the log goes", "error", err)
		return
	}
	for _, f := range s.allFollowers() {
		if err := f.WaitUnlessRetrying(ctx, head); err != nil {
			s.log.Warn("follower is behind and goes on after the next start",
				"follower", f.Status().Name, "position", f.Status().Position, "head", head, "error", err)
		}
	}
}

// close closes what Open opened. What was never opened is nil.
func (s *Server) close() {
	if s.Conn != nil {
		s.Conn.Close()
	}
	if s.Broker != nil {
		s.Broker.Close()
	}
	if s.control != nil {
		s.control.Close()
	}
	if s.metricsListener != nil {
		s.metricsListener.Close()
	}
	if s.http != nil {
		s.http.Close()
	}
}
