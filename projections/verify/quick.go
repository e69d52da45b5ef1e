package verify

import (
	"context"
	"fmt"
	"time"

	"konto/eventstore"
	"konto/projections"
)

// QuickRecords is how many records Quick checks.
const QuickRecords = 1000

// QuickConfig configures Quick.
type QuickConfig struct {
	Log       Log                         // required
	Model     *projections.ReadModel      // nil if there is none
	Followers func() []projections.Status // nil if none runs
	Files     []File                      // their checks must be fast
}

// QuickReport is what Quick found.
type QuickReport struct {
	OK        bool                 `json:"ok"`
	Head      uint64               `json:"head"`
	ReadModel uint64               `json:"readModel"` // its position, 0 without one
	Lag       uint64               `json:"lag"`       // how far the read model is behind
	Followers []projections.Status `json:"followers"`
	Problems  []Problem            `json:"problems"`
}

// Quick checks, within milliseconds, what a health probe asks: the end of the log, and
// whether the followers follow it. A lag alone is no problem, because healthy followers
// catch up.
func Quick(ctx context.Context, cfg QuickConfig) (QuickReport, error) {
	c := &check{Config: Config{Files: cfg.Files, Progress: func(uint64, uint64, string) {}}}
	r := QuickReport{Followers: []projections.Status{}}
	if err := c.files(ctx); err != nil {
		return r, err
	}
	if err := c.damage(ctx, cfg.Log.CheckEnd(ctx, QuickRecords)); err != nil {
		return r, err
	}
	var err error
	if cfg.Model != nil { // before the head, which may move on meanwhile
		if r.ReadModel, err = cfg.Model.Position(ctx); err != nil {
			if err := c.trouble(ctx, Problem{}, err); err != nil {
				return r, err
			}
		}
	}
	if r.Head, err = headFrom(ctx, cfg.Log, r.ReadModel); err != nil {
		return r, err
	}
	if r.Lag = r.Head - min(r.Head, r.ReadModel); r.ReadModel > r.Head {
		c.found(Problem{Position: r.Head + 1, What: fmt.Sprintf(
			"the read model is at position %d, beyond the end of the log", r.ReadModel)})
	}
	if cfg.Followers != nil {
		r.Followers = cfg.Followers()
	}
	for _, f := range r.Followers {
		if f.State == projections.StateRetrying || f.State == projections.StateStopped {
			c.found(Problem{Position: f.Position + 1, What: fmt.Sprintf("%s is %s: %s", f.Name, f.State, f.Error)})
		}
	}
	r.Problems = append([]Problem{}, c.report.Problems...)
	r.OK = len(r.Problems) == 0
	return r, nil
}

// headPatience bounds the wait for Head to return a position that a follower has
// already reached.
const headPatience = time.Second

// headFrom returns the log's head. It first waits for a position that the log is
// expected to have.
func headFrom(ctx context.Context, log eventstore.Feed, position uint64) (uint64, error) {
	if position > 0 {
		patience, cancel := context.WithTimeout(ctx, headPatience)
		defer cancel()
		// Head returns what is there after the wait.
		_ = log.Wait(patience, position-1)
	}
	return log.Head(ctx)
}
