package commands

import (
	"context"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// registered is a node with the third party crm, added at noon.
type registered struct {
	*node
	*ThirdParties
	id    ulid.ULID
	added AddedThirdParty
	clock time.Time
}

func register(t *testing.T) *registered {
	t.Helper()
	r := &registered{node: newNode(t), clock: time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)}
	r.ThirdParties = NewThirdParties(r.node.store, func() time.Time { return r.clock })
	added, err := r.Add(t.Context(), events.Metadata{}, crm())
	if err != nil {
		t.Fatal(err)
	}
	r.id, r.added = added.ID, added
	return r
}

func crm() AddThirdParty { return AddThirdParty{Name: "crm", URL: "https://crm.example.com/hook"} }

// party folds what the log holds, with nothing of the handler's.
func (r *registered) party(t *testing.T) (p events.ThirdParty) {
	t.Helper()
	evs, err := r.node.store.ReadStream(t.Context(), events.ThirdPartyStream(r.id), 0, 10*foldPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range evs {
		payload, err := e.Payload()
		if err != nil {
			t.Fatal(err)
		}
		p.Apply(e, payload)
	}
	return p
}

// checkWrong holds that an error tells of one field.
func checkWrong(t *testing.T, err error, field, code string) {
	t.Helper()
	var invalid *Invalid
	if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != field || invalid.Fields[0].Code != code {
		t.Errorf("got %v, want %s %s", err, field, code)
	}
}

func TestThirdPartyGetsEmailChangesByDefault(t *testing.T) {
	r := register(t)
	p := r.party(t)
	if p.Name != "crm" || p.URL != crm().URL || p.Format != events.FormatCloudEvents || !reflect.DeepEqual(p.Events, []string{"EmailChanged"}) {
		t.Errorf("stored %+v", p)
	}
	if r.added.Position != 1 || p.Begin != 1 || !p.Added.Equal(r.clock) || p.State != events.ThirdPartyActive {
		t.Errorf("added at %d, stored %+v", r.added.Position, p)
	}
	if r.added.Secret != p.Secret.Secret() || r.added.PublicKey != p.Secret.PublicKey() {
		t.Error("what was shown is not what is stored")
	}
	hmac, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.added.Secret, "whsec_"))
	if err != nil || len(hmac) != 32 || len(p.Secret.Ed25519Seed) != 32 {
		t.Errorf("secrets of %d and %d bytes, %v", len(hmac), len(p.Secret.Ed25519Seed), err)
	}

	other, err := r.Add(t.Context(), events.Metadata{}, AddThirdParty{
		Name: "billing", URL: " http://10.0.0.7:8080/?tenant=7\n", Format: events.FormatPayway,
		Events: []string{"ProfileUpdated", "EmailChanged", "ProfileUpdated"},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.id = other.ID
	q := r.party(t)
	if q.URL != "http://10.0.0.7:8080/?tenant=7" || !reflect.DeepEqual(q.Events, []string{"EmailChanged", "ProfileUpdated"}) {
		t.Errorf("stored %+v", q)
	}
	if string(q.Secret.HMAC) == string(p.Secret.HMAC) || string(q.Secret.Ed25519Seed) == string(p.Secret.Ed25519Seed) ||
		string(q.Secret.HMAC) == string(q.Secret.Ed25519Seed) {
		t.Error("secrets are shared")
	}
}

func TestRotatedSecretsOverlap(t *testing.T) {
	r := register(t)
	first := r.party(t).Secret
	rotated, err := r.RotateSecret(t.Context(), events.Metadata{}, r.id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := r.party(t)
	if rotated.Secret == r.added.Secret || rotated.Secret != p.Secret.Secret() || rotated.PublicKey != p.Secret.PublicKey() || rotated.Position != 2 {
		t.Errorf("shown %+v", rotated)
	}
	if !rotated.PreviousUntil.Equal(r.clock.Add(time.Hour)) {
		t.Errorf("until %s", rotated.PreviousUntil)
	}
	for at, want := range map[time.Duration][]events.WebhookSecrets{time.Hour - 1: {p.Secret, first}, time.Hour: {p.Secret}} {
		if got := p.Secrets(r.clock.Add(at)); !reflect.DeepEqual(got, want) {
			t.Errorf("after %s: signed with %d secrets, not %d", at, len(got), len(want))
		}
	}
}

func TestSecretOverlapsAreBounded(t *testing.T) {
	r := register(t)
	rotate := func(overlap time.Duration) error {
		_, err := r.RotateSecret(t.Context(), events.Metadata{}, r.id, overlap)
		return err
	}
	for _, overlap := range []time.Duration{-1, MaxSecretOverlap + 1} {
		checkWrong(t, rotate(overlap), "/overlap", CodeInvalidValue)
	}
	for range 3 {
		if err := rotate(MaxSecretOverlap); err != nil {
			t.Fatal(err)
		}
	}
	checkWrong(t, rotate(time.Hour), "/overlap", CodeNotAllowed)
	if p := r.party(t); len(p.Secrets(r.clock)) != 4 {
		t.Errorf("%d secrets sign", len(p.Secrets(r.clock)))
	}
	r.clock = r.clock.Add(MaxSecretOverlap)
	if err := rotate(time.Hour); err != nil {
		t.Errorf("once the others ended: %v", err)
	}
	if err := rotate(0); err != nil {
		t.Fatal(err)
	}
	if p := r.party(t); len(p.Secrets(r.clock)) != 1 {
		t.Errorf("%d secrets sign after a rotation without overlap", len(p.Secrets(r.clock)))
	}
}

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

func TestUnknownThirdPartyIsNotFound(t *testing.T) {
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

func TestConcurrentChangesOfAThirdPartyAreSequential(t *testing.T) {
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

func TestRemovedThirdPartiesAreNotCached(t *testing.T) {
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
