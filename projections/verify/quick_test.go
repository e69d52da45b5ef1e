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
