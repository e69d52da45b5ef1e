package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// Log is what a check needs of a log.
type Log interface {
	eventstore.Reader
	eventstore.Feed
	eventstore.ClaimRules
	eventstore.Checker
}

// File is a file with a function that checks it. Its error says what is wrong.
type File struct {
	Name  string
	Check func(ctx context.Context) error
}

// Config configures Run.
type Config struct {
	Log   Log                    // required
	Store *eventstore.Store      // required, of Log
	Model *projections.ReadModel // nil if there is none to compare
	Files []File
	// Progress is called from time to time with how far a part has come. It may be nil.
	Progress func(done, total uint64, unit string)
	// Erasing is how long the key of an erased account may still exist, because the
	// erasure is under way. 0 means a minute.
	Erasing time.Duration
	// Page is how many records and rows are read at a time; 0 means 1000.
	Page int
}

// Report is what Run found.
type Report struct {
	OK bool `json:"ok"`
	// Position is the position up to which everything was checked: the log's last
	// position when Run began.
	Position uint64 `json:"position"`
	Accounts uint64 `json:"accounts"` // how many were folded, erased ones included
	// Behind is how many of the last positions the read model did not have yet. It was
	// not compared at these.
	Behind uint64 `json:"readModelBehind,omitzero"`
	// Problems are the first ones, by position. Those without a position come first.
	Problems []Problem `json:"problems"`
	Found    int       `json:"found"` // how many there are in all
	// Notices are what somebody should know of, and nothing is wrong with.
	Notices []string `json:"notices,omitzero"`
}

// Problem is something that is wrong. It holds no personal data.
type Problem struct {
	Position uint64        `json:"position,omitzero"`
	Stream   events.Stream `json:"stream,omitzero"`
	What     string        `json:"what"`
}

// MaxProblems is how many problems a report names.
const MaxProblems = 100

// check is the state of a run.
type check struct {
	Config
	report Report
	folded uint64   // how many events
	claims []uint64 // the first bytes of all claims that folds gave
	// otherRule means that the claims do not follow from the accounts by events.ClaimRule.
	otherRule bool
	closed    *closings
}

// Run checks everything. It returns an error only if it could not finish, because ctx
// ended or the log was closed. What is wrong is in the report.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if cfg.Log == nil || cfg.Store == nil {
		return Report{}, errors.New("verify: a log and its store are required")
	}
	if cfg.Erasing == 0 {
		cfg.Erasing = time.Minute
	}
	if cfg.Page <= 0 {
		cfg.Page = 1000
	}
	if cfg.Progress == nil {
		cfg.Progress = func(uint64, uint64, string) {}
	}
	head, err := cfg.Store.Head(ctx)
	if err != nil {
		return Report{}, err
	}
	c := &check{Config: cfg, report: Report{Position: head, Problems: []Problem{}}, closed: newClosings(cfg.Store, cfg.Log)}
	rule, err := cfg.Log.ClaimRule(ctx)
	if err != nil {
		return Report{}, err
	}
	if c.otherRule = rule.Number != events.ClaimRule; c.otherRule {
		c.report.Notices = []string{"the claims were made by another konto's rule, and were not checked; the next start of this one writes them again"}
	}
	for _, part := range []func(context.Context) error{c.files, c.chain, c.streams, c.heldClaims, c.receipts} {
		if err := part(ctx); err != nil {
			return c.report, err
		}
	}
	if cfg.Model != nil {
		model, err := cfg.Model.Position(ctx)
		if err != nil {
			return c.report, c.trouble(ctx, Problem{}, err)
		}
		c.report.Behind = head - min(head, model)
	}
	c.report.OK = c.report.Found == 0
	return c.report, nil
}

// found adds a problem. The report keeps those with the lowest positions.
func (c *check) found(p Problem) {
	c.report.Found++
	at, _ := slices.BinarySearchFunc(c.report.Problems, p, func(known, p Problem) int {
		if known.Position <= p.Position {
			return -1
		}
		return 1
	})
	c.report.Problems = slices.Insert(c.report.Problems, at, p)
	c.report.Problems = c.report.Problems[:min(len(c.report.Problems), MaxProblems)]
}

// trouble reports an error as a problem. It returns an error if the run cannot go on.
func (c *check) trouble(ctx context.Context, p Problem, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, eventstore.ErrClosed) {
		return err
	}
	p.What += explain(err)
	c.found(p)
	return nil
}

func (c *check) files(ctx context.Context) error {
	for i, f := range c.Files {
		c.Progress(uint64(i), uint64(len(c.Files)), "files")
		if err := f.Check(ctx); err != nil {
			if err := c.trouble(ctx, Problem{What: f.Name + ": "}, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *check) chain(ctx context.Context) error {
	return c.damage(ctx, c.Log.CheckChain(ctx, func(done, total uint64) { c.Progress(done, total, "records") }))
}

// damage reports what a check of the chain found.
func (c *check) damage(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var damaged *eventstore.ChainError
	var p Problem
	if errors.As(err, &damaged) {
		p.Position = damaged.Position
	}
	return c.trouble(ctx, p, err)
}

// explain returns the text of an error without anything of a payload, which a
// decoder's message may quote.
func explain(err error) string {
	var decode *events.DecodeError
	switch {
	case errors.As(err, &decode) && errors.Is(decode, events.ErrUnknownType):
		return "its type is unknown"
	case errors.As(err, &decode):
		return "its data does not decode"
	case errors.Is(err, eventstore.ErrNoKey):
		return "the key of its stream is missing"
	case errors.Is(err, eventstore.ErrSealBroken):
		return "what is stored does not fit its key"
	}
	return err.Error()
}
