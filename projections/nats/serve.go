package nats

import (
	"context"
	"fmt"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// maxAnswers is how many requests Serve answers at once.
const maxAnswers = 64

// Serve answers requests on a subject until ctx ends and those that came before are answered. Of all
// who serve a subject under one queue name, one gets each request. It returns an error only if it
// cannot begin. While the server is away nobody asks, and Serve goes on when it is back.
func (c *Conn) Serve(ctx context.Context, subject, queue string, answer func(ctx context.Context, request []byte) []byte) error {
	var answers sync.WaitGroup
	free := make(chan struct{}, maxAnswers)
	sub, err := c.nc.QueueSubscribe(subject, queue, func(m *natsgo.Msg) {
		free <- struct{}{}
		answers.Go(func() {
			defer func() { <-free }()
			if err := m.Respond(answer(context.WithoutCancel(ctx), m.Data)); err != nil {
				c.outage.log.Warn("a request on NATS could not be answered", "subject", subject, "error", err)
			}
		})
	})
	if err != nil {
		return fmt.Errorf("serve %s: %w", subject, err)
	}
	drained := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(drained) })
	<-ctx.Done()
	if sub.Drain() == nil {
		select {
		case <-drained:
		case <-time.After(drainTimeout): // the server is away
		}
	}
	answers.Wait()
	return nil
}
