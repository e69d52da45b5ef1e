package verify

import (
	"context"
	"errors"
	"strings"
	"testing"

	"konto/projections"
)

func TestQuick(t *testing.T) {
	h := begin(t)
	h.populate(t, 3)
	cfg := QuickConfig{Log: h.log, Model: h.model}
	quick := func(want string) QuickReport {
		t.Helper()
		r, err := Quick(t.Context(), cfg)
		must(t, err)
		if r.OK != (want == "") || want != "" && !strings.Contains(r.Problems[0].What, want) {
			t.Errorf("%+v, want %q", r, want)
		}
		return r
	}
	quick("")
	h.opened(t, 80)
	if r := quick(""); r.Lag != 1 || r.Head != r.ReadModel+1 {
		t.Errorf("%+v", r)
	}
	for state, want := range map[string]string{
		projections.StateFollowing: "", projections.StateWaiting: "",
		projections.StateRetrying: "mailer is retrying: disk full", projections.StateStopped: "mailer is stopped: disk full",
	} {
		cfg.Followers = func() []projections.Status {
			return []projections.Status{{Name: "mailer", State: state, Error: "disk full"}}
		}
		quick(want)
	}
	cfg.Followers = nil
	cfg.Files = []File{{"master.key", func(context.Context) error { return errors.New("the file is missing") }}}
	quick("master.key: the file is missing")
	cfg.Files = nil

	must(t, h.follow(t.Context()))
	must(t, h.close())
	h.raw(t, "log.db", append(unguarded, "UPDATE events SET time = time + 1 WHERE position = 20")...)
	h = enter(t, h.dir)
	cfg.Log, cfg.Model = h.log, h.model
	quick("the hash does not fit")
}

// late is a log whose head is one behind until somebody waits for it.
type late struct {
	Log
	awaited bool
}

func (l *late) Head(ctx context.Context) (uint64, error) {
	head, err := l.Log.Head(ctx)
	if !l.awaited {
		head--
	}
	return head, err
}

func (l *late) Wait(ctx context.Context, after uint64) error {
	l.awaited = true
	return l.Log.Wait(ctx, after)
}

func TestHeadThatIsAboutToComeIsNoProblem(t *testing.T) {
	h := begin(t)
	h.populate(t, 3)
	if r, err := Quick(t.Context(), QuickConfig{Log: &late{Log: h.log}, Model: h.model}); err != nil || !r.OK || r.Head != r.ReadModel {
		t.Errorf("%+v, %v", r, err)
	}
}
