package server

import (
	"context"
	"errors"
	"time"

	"konto/events"
	"konto/projections"
	"konto/projections/natscallout"
)

// freshTimeout bounds how long a request waits for what other nodes have acknowledged. It is
// refused then: this node does not know whether the credential still counts.
const freshTimeout = 2 * time.Second

// fresh waits until the read model has everything that any node acknowledged before the call.
func (s *Server) fresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	return s.folder.CatchUp(ctx)
}

// answerServers makes the service by which konto's tokens count at the NATS servers, too.
func (s *Server) answerServers() (*natscallout.Service, error) {
	return natscallout.New(natscallout.Config{
		Conn: s.Conn, Secret: s.folder.Keys.Derive(natscallout.Purpose), Authenticate: s.natsClient, Log: s.log,
	})
}

// natsClient returns the consumer or sender that a token belongs to.
func (s *Server) natsClient(ctx context.Context, token string) (natscallout.Client, bool) {
	err := s.fresh(ctx)
	var c events.Credential
	if err == nil {
		c, err = s.folder.Model.Authenticate(ctx, token, time.Now())
	}
	if err != nil && !errors.Is(err, projections.ErrUnauthenticated) {
		s.log.Error("cannot authenticate a NATS client", "error", err)
	}
	client := natscallout.Client{Name: c.Name, Key: c.ID.String(), Sender: c.Kind == events.KindInbound, Expires: c.ExpiresAt}
	return client, err == nil && (client.Sender || c.Kind == events.KindConsumer)
}

// untilGone waits until ctx ends, or returns why this node was given up.
func (s *Server) untilGone(ctx context.Context) error {
	select {
	case err := <-s.folder.Gone:
		return err
	case <-ctx.Done():
		return nil
	}
}
