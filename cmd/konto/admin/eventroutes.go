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

// errNotAdmitted ends a stream whose key was revoked or has expired.
var errNotAdmitted = errors.New("the key can no longer be used")

// errStopping ends a long answer when the server ends.
var errStopping = errors.New("the server stops")

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
	head, err := k.Store.Head(r.Context())
	if err != nil {
		return err
	}
	if _, begins := given["after"]; !begins {
		after = head
	}
	if after > head { // of another log, or of this one before it was restored
		return invalid("the log ends before that position")
	}
	r.Writer.Header().Set("Content-Type", "text/event-stream")
	r.Writer.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
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
	write := func(format string, args ...any) error {
		if !r.StillAdmitted() {
			return errNotAdmitted
		}
		_ = control.SetWriteDeadline(time.Now().Add(streamTime)) // fails only if there is no connection
		_, err := fmt.Fprintf(r.Writer, format, args...)
		return err
	}
	return k.FollowEvents(ctx, filter, after, func(e Event) error {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		return write("id: %d\ndata: %s\n\n", e.Position, text)
	}, func(position uint64) error {
		if err := k.WaitFor(ctx, position); err != nil { // if an event was the key's revocation, Access has it
			return err
		}
		// An id alone is no event. Proxies keep the connection for it, and the caller goes on from there.
		if err := write("id: %d\n\n", position); err != nil {
			return err
		}
		return control.Flush()
	})
}
