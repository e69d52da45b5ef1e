package server

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/singleflight"
)

// How long one who asks a question waits. Both are well below the 2 and 3 seconds that probes wait.
const (
	patience       = 2 * time.Second
	brokerPatience = 500 * time.Millisecond
)

// answerLasts is how long a good answer is given to others who ask.
const answerLasts = time.Second

// errNoAnswer occurs when a question is not answered in time. Its answer may still come.
var errNoAnswer = errors.New("it does not answer in time")

// question is one that may hang, because a disk does, and that anybody may ask through a probe. It
// is asked once at a time, and at most once a second while all is well. After an error it is asked
// again at once, so that a recovery shows. The zero value is ready.
type question struct {
	group    singleflight.Group
	answered time.Time // when the last good answer came; only the function in group uses it
}

// ask returns do's answer, or an error that matches errNoAnswer when ctx or the patience has ended. do
// then goes on, and those who ask meanwhile wait for its answer.
func (q *question) ask(ctx context.Context, patience time.Duration, do func() error) error {
	answer := q.group.DoChan("", func() (any, error) {
		if time.Since(q.answered) < answerLasts {
			return nil, nil
		}
		err := do()
		if err == nil {
			q.answered = time.Now()
		}
		return nil, err
	})
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case a := <-answer:
		return a.Err
	case <-timeout.C:
	case <-ctx.Done():
	}
	return errNoAnswer
}
