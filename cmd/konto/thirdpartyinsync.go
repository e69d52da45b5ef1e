package main

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
)

// standing says whether a third party knows the last event of an account.
type standing struct {
	ID     string `json:"id"`
	InSync bool   `json:"inSync"`
	// Last is the account's last event that the third party wants.
	Last *told `json:"last,omitzero"`
	// Delivered is the newest event of the account that the third party accepted, as far as
	// the delivery store knows.
	Delivered *told `json:"delivered,omitzero"`
	// Attempts counts the failed attempts to deliver the next event.
	Attempts int       `json:"attempts,omitzero"`
	NextTry  time.Time `json:"nextTry,omitzero"` // not before a third party that is paused or disabled is resumed
}

// told is an event that a third party is told of.
type told struct {
	Event    string    `json:"event"`
	Type     string    `json:"type"`
	Version  uint64    `json:"version"`
	Position uint64    `json:"position"`
	Time     time.Time `json:"time"` // when it happened, or when it was delivered
}

// standing compares what a third party took with what happened to an account.
func (on *opened) standing(ctx context.Context, p events.ThirdParty, ref string) (standing, error) {
	id, err := on.FindAccount(ctx, ref)
	if err != nil {
		return standing{}, err
	}
	lane, known, err := on.DeliveryStore.Delivery(ctx, p.ID, id)
	if err != nil {
		return standing{}, err
	}
	reading, err := on.reading(ctx, p)
	if err != nil {
		return standing{}, err
	}
	s := standing{ID: id.String(), Attempts: lane.Attempts, NextTry: lane.Next}
	if s.Last, s.Delivered, err = on.lastWanted(ctx, p, id, lane.Delivered); err != nil {
		return standing{}, err
	}
	if s.Last == nil && s.Delivered == nil {
		head, err := on.Store.StreamHead(ctx, events.AccountStream(id))
		if err != nil {
			return standing{}, err
		}
		if head.Version == 0 {
			return standing{}, on.NotFound(commands.ErrNotFound, ref)
		}
	}
	if s.Delivered != nil {
		s.Delivered.Time = lane.DeliveredAt
	}
	switch {
	case s.Last == nil:
		s.InSync = true // there is nothing to tell
	case known:
		s.InSync = lane.Delivered >= s.Last.Position
	default:
		// The checkpoint covers what was before the third party was added, and what was
		// settled according to a delivery store that was lost.
		s.InSync = s.Last.Position <= min(reading, p.Checkpoint)
	}
	return s, nil
}

// reading returns the position up to which a third party's deliveries have read the log.
func (on *opened) reading(ctx context.Context, p events.ThirdParty) (uint64, error) {
	position, known, err := on.DeliveryStore.Position(ctx, p.ID)
	if err == nil && !known {
		position = p.Checkpoint
	}
	return position, err
}

// lastWanted returns the account's last event that a third party subscribed to, and the event
// at a position. It reads records, because the account's key may be destroyed.
func (on *opened) lastWanted(ctx context.Context, p events.ThirdParty, account ulid.ULID, position uint64) (last, at *told, err error) {
	for version := uint64(0); ; {
		page, err := on.Log.ReadStream(ctx, events.AccountStream(account), version, datafolder.PageSize)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range page {
			version = r.Version
			if p.Wants(r.Type) {
				last = tell(r)
			}
			if r.Position == position {
				at = tell(r)
			}
		}
		if len(page) < datafolder.PageSize {
			return last, at, nil
		}
	}
}

func tell(r eventstore.Record) *told {
	return &told{Event: r.ID.String(), Type: r.Type, Version: r.Version, Position: r.Position, Time: r.Time}
}
