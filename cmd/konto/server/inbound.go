package server

import (
	"context"
	"errors"
	"strings"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections/inbound"
)

// recordFacts makes the reactor that records the facts of other systems.
func (s *Server) recordFacts() *component {
	from := s.Facts.Subscriber()
	return &component{name: "inbound", from: from, reactor: inbound.New(inbound.Config{
		Subscriber:  from,
		Recorder:    recorder{s.folder},
		DeadLetters: s.Facts,
		Metrics:     s.metrics.Registerer(),
		Log:         s.log,
	})}
}

// recorder records inbound facts in a folder's log.
type recorder struct{ folder *datafolder.Folder }

// RecordFacts implements inbound.Recorder.
func (r recorder) RecordFacts(ctx context.Context, m inbound.Message) error {
	id, err := r.folder.LookUp(ctx, m.Account)
	if err != nil {
		return refuseFacts(err)
	}
	request, err := datafolder.NewID()
	if err != nil {
		return err
	}
	meta := events.Metadata{
		RequestID:  "req_" + strings.ToLower(request.String()),
		Actor:      events.Actor{Kind: "inbound", ID: m.From},
		Contract:   "inbound",
		Trace:      m.Trace,
		TraceState: m.TraceState,
	}
	once := commands.Once{Name: m.Name, Fingerprint: m.Fingerprint, At: time.Now()}
	_, err = r.folder.Accounts.DoOnce(ctx, id, meta, once, commands.RecordFacts{Facts: m.Facts})
	return refuseFacts(err)
}

// refuseFacts turns an error that another try would not change into inbound.Refused. The
// reasons are shown with dead letters and hold no personal data.
func refuseFacts(err error) error {
	var invalid *commands.Invalid
	var undecodable *events.DecodeError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, datafolder.ErrNoReference):
		return &inbound.Refused{Reason: "the account is named neither by an id nor by an email address"}
	case errors.Is(err, commands.ErrNotFound), errors.Is(err, eventstore.ErrNoKey):
		return &inbound.Refused{Reason: "there is no such account"}
	case errors.Is(err, commands.ErrReused):
		return &inbound.Refused{Reason: "its id is that of another message"}
	case errors.As(err, &invalid) && len(invalid.Fields) > 0:
		return &inbound.Refused{Reason: invalid.Fields[0].Field + ": " + invalid.Fields[0].Detail}
	case errors.Is(err, eventstore.ErrSealBroken), errors.As(err, &undecodable):
		// A retry would repair nothing, and would delay the facts of all other accounts.
		return &inbound.Refused{Reason: "the account cannot be read from the log"}
	}
	return err
}
