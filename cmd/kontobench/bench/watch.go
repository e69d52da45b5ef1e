package bench

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/go-json-experiment/json"
)

// lookEvery is how often the server is asked for the positions of its followers. A figure is late by
// up to this much, and never early.
const lookEvery = 2 * time.Millisecond

// seen is the positions of the server's followers at one moment.
type seen struct {
	at       time.Time // when the answer was there
	head     uint64
	position map[string]uint64
}

// watch records the positions of the server's followers until ctx ends.
type watch struct {
	all  []seen
	err  error
	done chan struct{}
}

func (s Server) watch(ctx context.Context) *watch {
	w := &watch{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.all, w.err = s.look(ctx)
	}()
	return w
}

// look asks until ctx ends, and then one last time.
func (s Server) look(ctx context.Context) (all []seen, err error) {
	c := &client{to: s}
	defer c.close()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for last := false; ; {
		now, err := s.health(context.WithoutCancel(ctx), c)
		if err != nil {
			return all, err
		}
		all = append(all, now)
		if last {
			return all, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			last = true
		}
	}
}

// health asks once. A server that is not healthy is an error, because its followers may never catch
// up.
func (s Server) health(ctx context.Context, c *client) (now seen, err error) {
	request := append(head(nil, "GET", "/healthz", s, Target{"none"}), "\r\n\r\n"...)
	a, err := c.do(ctx, request)
	if err != nil {
		return now, fmt.Errorf("ask for the server's health: %w", err)
	}
	var answer struct {
		Status    string `json:"status"`
		Head      uint64 `json:"head"`
		Followers []struct {
			Name     string `json:"name"`
			Position uint64 `json:"position"`
		} `json:"followers"`
	}
	now.at = time.Now()
	if err := json.Unmarshal(a.body, &answer); err != nil {
		return now, fmt.Errorf("the server's health: %w", err)
	}
	if answer.Status != "ok" {
		return now, fmt.Errorf("the server is %s", answer.Status)
	}
	now.head, now.position = answer.Head, make(map[string]uint64, len(answer.Followers))
	for _, f := range answer.Followers {
		now.position[f.Name] = f.Position
	}
	return now, nil
}

// errLate is the error if followers did not reach the end of the log.
var errLate = errors.New("the followers of the log did not reach its end")

// CaughtUp waits until all followers of the server have the events that the log held when CaughtUp
// was called.
func (s Server) CaughtUp(ctx context.Context, atMost time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, atMost, errLate)
	defer cancel()
	c := &client{to: s}
	defer c.close()
	var head uint64
	for {
		now, err := s.health(ctx, c)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if head == 0 {
			head = now.head
		}
		if now.all(head) {
			return nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s seen) all(position uint64) bool {
	for _, at := range s.position {
		if at < position {
			return false
		}
	}
	return true
}

// reached returns when a follower was first seen at a position or beyond.
func (w *watch) reached(follower string, position uint64) (at time.Time, ok bool) {
	i := sort.Search(len(w.all), func(i int) bool { return w.all[i].position[follower] >= position })
	if i == len(w.all) {
		return at, false
	}
	return w.all[i].at, true
}
