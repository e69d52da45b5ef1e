package commands

import (
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

func TestAddedThirdPartyIsToldOfEmailChangesUnlessAskedForMore(t *testing.T) {
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

func TestOverlapsOfSecretsAreBounded(t *testing.T) {
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
