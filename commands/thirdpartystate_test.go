package commands

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func TestStatesOfAThirdParty(t *testing.T) {
	do := map[string]func(*registered, context.Context) (uint64, error){
		"pause": func(r *registered, ctx context.Context) (uint64, error) { return r.Pause(ctx, events.Metadata{}, r.id) },
		"resume": func(r *registered, ctx context.Context) (uint64, error) {
			return r.Resume(ctx, events.Metadata{}, r.id)
		},
		"remove": func(r *registered, ctx context.Context) (uint64, error) {
			return r.Remove(ctx, events.Metadata{}, r.id)
		},
		"disable": func(r *registered, ctx context.Context) (uint64, error) {
			return r.Disable(ctx, events.Metadata{}, r.id, events.DisabledGone)
		},
	}
	const active, paused, disabled, removed = events.ThirdPartyActive, events.ThirdPartyHeld, events.ThirdPartyFailed, events.ThirdPartyGone
	for steps, want := range map[string]struct {
		state  string
		events uint64
	}{
		"resume":                       {active, 1},
		"pause":                        {paused, 2},
		"pause pause":                  {paused, 2},
		"pause resume":                 {active, 3},
		"pause resume resume":          {active, 3},
		"disable":                      {disabled, 2},
		"disable disable":              {disabled, 2},
		"disable resume":               {active, 3},
		"disable pause":                {paused, 3},
		"pause disable":                {disabled, 3},
		"remove":                       {removed, 2},
		"remove remove":                {removed, 2},
		"disable remove remove remove": {removed, 3},
	} {
		t.Run(steps, func(t *testing.T) {
			r := register(t)
			for step := range strings.FieldsSeq(steps) {
				position, err := do[step](r, t.Context())
				if p := r.party(t); err != nil || position != p.Position {
					t.Errorf("%s: at %d, stored at %d, %v", step, position, p.Position, err)
				}
			}
			if p := r.party(t); p.State != want.state || p.Version != want.events || (p.Reason != "") != (want.state == disabled) {
				t.Errorf("%s (%s) after %d events", p.State, p.Reason, p.Version)
			}
		})
	}
}

func TestWhatIsNoThirdPartyIsNotFound(t *testing.T) {
	r := register(t)
	if _, err := r.Remove(t.Context(), events.Metadata{}, r.id); err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]ulid.ULID{"removed": r.id, "never added": ulid.Make()} {
		for what, do := range map[string]func() error{
			"pause":      func() error { _, err := r.Pause(t.Context(), events.Metadata{}, id); return err },
			"resume":     func() error { _, err := r.Resume(t.Context(), events.Metadata{}, id); return err },
			"disable":    func() error { _, err := r.Disable(t.Context(), events.Metadata{}, id, events.DisabledGone); return err },
			"rotate":     func() error { _, err := r.RotateSecret(t.Context(), events.Metadata{}, id, 0); return err },
			"checkpoint": func() error { _, err := r.Checkpoint(t.Context(), events.Metadata{}, id, 1); return err },
		} {
			if err := do(); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	if _, err := r.Remove(t.Context(), events.Metadata{}, ulid.Make()); !errors.Is(err, ErrNotFound) {
		t.Errorf("never added, remove: %v", err)
	}
	if _, err := r.Disable(t.Context(), events.Metadata{}, r.id, "bored"); !errors.Is(err, ErrInvalid) {
		t.Errorf("an unknown reason: %v", err)
	}
	if head, _ := r.log.Head(t.Context()); head != 2 {
		t.Errorf("something was stored: head is %d", head)
	}
}

func TestCheckpointsOnlyAdvance(t *testing.T) {
	r := register(t)
	for range 4 {
		r.open(t, "anna"+ulid.Make().String()) // positions 2 to 5
	}
	for _, step := range []struct{ settled, checkpoint, version uint64 }{{1, 1, 1}, {3, 3, 2}, {3, 3, 2}, {2, 3, 2}, {5, 5, 3}} {
		position, err := r.Checkpoint(t.Context(), events.Metadata{}, r.id, step.settled)
		p := r.party(t)
		if err != nil || p.Checkpoint != step.checkpoint || p.Version != step.version || position != p.Position {
			t.Errorf("settled up to %d: checkpoint %d, version %d, at %d and stored at %d, %v",
				step.settled, p.Checkpoint, p.Version, position, p.Position, err)
		}
	}
	head, err := r.log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Checkpoint(t.Context(), events.Metadata{}, r.id, head+1)
	checkWrong(t, err, "/position", CodeInvalidValue)
}

func TestChangesOfOneThirdPartyAtOnceAreOneAfterTheOther(t *testing.T) {
	r := register(t)
	others := []*ThirdParties{r.ThirdParties, NewThirdParties(r.node.store, nil)} // another node
	const each = 20
	positions := make([]uint64, 2*each)
	if err := errors.Join(all(len(positions), func(i int) (err error) {
		positions[i], err = others[i%2].Pause(t.Context(), events.Metadata{}, r.id)
		return err
	})...); err != nil {
		t.Fatal(err)
	}
	for _, position := range positions {
		if position != 2 {
			t.Errorf("paused at %d, want 2", position)
		}
	}
	if err := errors.Join(all(each, func(i int) (err error) {
		_, err = others[i%2].Checkpoint(t.Context(), events.Metadata{}, r.id, uint64(i%3))
		return err
	})...); err != nil {
		t.Fatal(err)
	}
	if p := r.party(t); p.Checkpoint != 2 || p.Version != 3 || p.State != events.ThirdPartyHeld {
		t.Errorf("%+v", p)
	}
}

// A handler that knows a third party reads only what followed.
func TestLongStreamsOfCheckpointsAreReadOnce(t *testing.T) {
	r := register(t)
	stream, count := events.ThirdPartyStream(r.id), uint64(foldPage+7)
	var evs []events.Event
	for i := range count {
		e, err := events.New(stream, i+2, ulid.Make(), r.clock, events.Metadata{}, events.ThirdPartyCheckpointed{Position: i + 1})
		if err != nil {
			t.Fatal(err)
		}
		evs = append(evs, e)
	}
	if _, err := r.node.store.Append(t.Context(), stream, 1, nil, evs); err != nil {
		t.Fatal(err)
	}
	state, err := r.load(t.Context(), r.id)
	if err != nil || state.Checkpoint != count || state.Version != count+1 {
		t.Fatalf("folded to checkpoint %d, version %d, %v", state.Checkpoint, state.Version, err)
	}
	state.Name = "known" // no event says so
	r.known[r.id] = state
	if _, err := NewThirdParties(r.node.store, nil).Pause(t.Context(), events.Metadata{}, r.id); err != nil {
		t.Fatal(err)
	}
	if state, err = r.load(t.Context(), r.id); err != nil || state.Name != "known" || state.State != events.ThirdPartyHeld {
		t.Errorf("known as %s, %s, %v", state.Name, state.State, err)
	}
}

func TestThirdPartiesThatAreGoneAreForgotten(t *testing.T) {
	r := register(t)
	if _, err := r.Pause(t.Context(), events.Metadata{}, ulid.Make()); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	for range 2 { // the second finds the removal in the log
		if _, err := r.Remove(t.Context(), events.Metadata{}, r.id); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.known) != 0 {
		t.Errorf("%d are remembered", len(r.known))
	}
}
