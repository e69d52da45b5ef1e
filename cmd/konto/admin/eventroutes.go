package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"konto/events"
	kontohttp "konto/http"
)

func (k *Konto) eventRoutes() []kontohttp.Route {
	return []kontohttp.Route{
		get("/events", func(r *request) (Page[Event], error) {
			given, limit, err := paging(r, "account", "type")
			if err != nil {
				return Page[Event]{}, err
			}
			filter, after, err := k.eventsWanted(r, given)
			if err != nil {
				return Page[Event]{}, err
			}
			return k.ListEvents(r.Context(), filter, after, limit)
		}),
		{Method: http.MethodGet, Path: "/events/live", Role: events.RoleViewer, Stream: true, Answer: k.liveEvents},
	}
}

func (k *Konto) eventsWanted(r *request, given map[string]string) (f EventFilter, after uint64, err error) {
	f.Type = given["type"]
	if id, ok := given["account"]; ok {
		if f.Account, err = k.byID(r, id); err != nil {
			return f, 0, err
		}
	}
	after, err = position(given, "after")
	return f, after, err
}

// heartbeat is how often something is sent while nothing happens, so that proxies keep the connection,
// and so that a key that has expired is noticed.
const heartbeat = 15 * time.Second

// errNotAdmitted ends a stream whose key was revoked or has expired.
var errNotAdmitted = errors.New("the key can no longer be used")

// liveEvents sends events as they happen, as server-sent events whose ids are positions. It begins
// after the position in Last-Event-ID or after, or else with the events from now on.
func (k *Konto) liveEvents(r *request) error {
	given, err := parameters(r, "account", "type", "after")
	if err != nil {
		return err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		given["after"] = last
	}
	filter, after, err := k.eventsWanted(r, given)
	if err != nil {
		return err
	}
	if _, begins := given["after"]; !begins {
		if after, err = k.Store.Head(r.Context()); err != nil {
			return err
		}
	}
	r.Writer.Header().Set("Content-Type", "text/event-stream")
	r.Writer.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	// The status is sent, so nothing can be answered to an error. The caller asks again, after the last
	// event that it received.
	_ = k.sendLive(r, filter, after)
	return nil
}

func (k *Konto) sendLive(r *request, filter EventFilter, after uint64) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-r.Stopping():
			cancel()
		case <-ctx.Done():
		}
	}()
	control := http.NewResponseController(r.Writer)
	visit := func(e Event) error {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		after = e.Position
		_ = control.SetWriteDeadline(time.Now().Add(streamTime)) // fails only if there is no connection
		_, err = fmt.Fprintf(r.Writer, "id: %d\ndata: %s\n\n", e.Position, text)
		return err
	}
	pause := func(position uint64) error {
		after = position
		if err := k.WaitFor(ctx, position); err != nil { // if it is the key's revocation, Access has it
			return err
		}
		if !r.StillAdmitted() {
			return errNotAdmitted
		}
		return control.Flush()
	}
	for {
		turn, end := context.WithTimeout(ctx, heartbeat)
		err := k.FollowEvents(turn, filter, after, visit, pause)
		end()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		_ = control.SetWriteDeadline(time.Now().Add(streamTime))
		if _, err := fmt.Fprintf(r.Writer, "id: %d\n\n", after); err != nil { // an id alone is no event
			return err
		}
	}
}
