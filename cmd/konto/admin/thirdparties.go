package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/server"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections/deliveries"
)

// ThirdParty is a third party for the operator: everything but its secrets.
type ThirdParty struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	URL       string    `json:"url"`
	Format    string    `json:"format"`
	Events    []string  `json:"events"`
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitzero"`
	PublicKey string    `json:"publicKey"`
	Previous  time.Time `json:"previousUntil,omitzero"` // when the last of its previous secrets ends
	Added     time.Time `json:"added"`
	// Begin and Checkpoint are positions in the log. The third party receives events after
	// Begin. All events up to Checkpoint are settled.
	Begin      uint64 `json:"begin"`
	Checkpoint uint64 `json:"checkpoint"`
	Version    uint64 `json:"version"`
}

func showThirdParty(p events.ThirdParty) ThirdParty {
	shown := ThirdParty{
		ID: p.ID.String(), Name: p.Name, URL: withoutQuery(p.URL), Format: p.Format, Events: p.Events,
		State: p.State, Reason: p.Reason, PublicKey: p.Secret.PublicKey(), Added: p.Added,
		Begin: p.Begin, Checkpoint: p.Checkpoint, Version: p.Version,
	}
	for _, previous := range p.Previous {
		if previous.Until.After(shown.Previous) && previous.Until.After(time.Now()) {
			shown.Previous = previous.Until
		}
	}
	return shown
}

// withoutQuery hides a URL's query, in which there may be a secret.
func withoutQuery(url string) string {
	if before, _, ok := strings.Cut(url, "?"); ok {
		return before + "?…"
	}
	return url
}

// NewSecret is the secret of a third party, which is shown only here.
type NewSecret struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Secret        string    `json:"secret"`
	PublicKey     string    `json:"publicKey"`
	PreviousUntil time.Time `json:"previousUntil,omitzero"` // after a rotation
}

// AddThirdParty registers a third party. If something fails after that, it returns the secret with the
// error, because nothing shows it again.
func (k *Konto) AddThirdParty(ctx context.Context, meta events.Metadata, add commands.AddThirdParty) (NewSecret, error) {
	if add.Format == events.FormatRISC && k.Server.HasNoURL() {
		return NewSecret{}, conflict(server.ErrNoIssuer.Error())
	}
	added, err := k.ThirdParties.Add(ctx, meta, add)
	if errors.Is(err, eventstore.ErrTaken) {
		return NewSecret{}, conflict(fmt.Sprintf("there is a third party %s already", add.Name))
	}
	if err != nil {
		return NewSecret{}, err
	}
	k.Acted(meta, "third-party add", "third_party", added.ID.String())
	return NewSecret{ID: added.ID.String(), Name: add.Name, Secret: added.Secret, PublicKey: added.PublicKey}, k.WaitFor(ctx, added.Position)
}

// ListThirdParties returns a page of the third parties with ids after one that were not removed, in
// order of id. They are few.
func (k *Konto) ListThirdParties(ctx context.Context, after string, limit int) (Page[ThirdParty], error) {
	page := Page[ThirdParty]{Items: []ThirdParty{}}
	last, err := idCursor(after)
	if err == nil {
		err = k.CatchUp(ctx)
	}
	if err != nil {
		return page, err
	}
	all, err := k.Model.ThirdParties(ctx)
	for _, p := range all {
		if p.ID.Compare(last) <= 0 {
			continue
		}
		if len(page.Items) == limit {
			page.Next = page.Items[limit-1].ID
			break
		}
		page.Items = append(page.Items, showThirdParty(p))
	}
	return page, err
}

// ThirdParty returns the third party that a person means, by its name or its id.
func (k *Konto) ThirdParty(ctx context.Context, ref string) (ThirdParty, error) {
	p, err := k.findThirdParty(ctx, ref)
	if err != nil {
		return ThirdParty{}, err
	}
	return showThirdParty(p), nil
}

func (k *Konto) findThirdParty(ctx context.Context, ref string) (events.ThirdParty, error) {
	if err := k.CatchUp(ctx); err != nil {
		return events.ThirdParty{}, err
	}
	p, ok, err := k.Model.ThirdParty(ctx, ref)
	if err == nil && !ok {
		err = missing("there is no third party " + ref)
	}
	return p, err
}

// ThirdPartyState is what a third party became.
type ThirdPartyState struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state"`
}

// PauseThirdParty stops deliveries, of which none is lost.
func (k *Konto) PauseThirdParty(ctx context.Context, meta events.Metadata, ref string) (ThirdPartyState, error) {
	return k.setThirdParty(ctx, meta, ref, "pause", events.ThirdPartyHeld, k.ThirdParties.Pause)
}

// ResumeThirdParty continues deliveries where they stopped.
func (k *Konto) ResumeThirdParty(ctx context.Context, meta events.Metadata, ref string) (ThirdPartyState, error) {
	return k.setThirdParty(ctx, meta, ref, "resume", events.ThirdPartyActive, k.ThirdParties.Resume)
}

// RemoveThirdParty ends deliveries for good.
func (k *Konto) RemoveThirdParty(ctx context.Context, meta events.Metadata, ref string) (ThirdPartyState, error) {
	return k.setThirdParty(ctx, meta, ref, "remove", events.ThirdPartyGone, k.ThirdParties.Remove)
}

func (k *Konto) setThirdParty(ctx context.Context, meta events.Metadata, ref, act, state string, change thirdPartyChange) (ThirdPartyState, error) {
	p, err := k.changeThirdParty(ctx, meta, ref, act, change)
	return ThirdPartyState{p.ID.String(), p.Name, state}, err
}

// RotateSecret makes a new secret for a third party. The previous one also signs until the overlap
// ends. If something fails after the change, it returns the secret with the error.
func (k *Konto) RotateSecret(ctx context.Context, meta events.Metadata, ref string, overlap time.Duration) (NewSecret, error) {
	var rotated commands.RotatedSecret
	p, err := k.changeThirdParty(ctx, meta, ref, "rotate-secret", func(ctx context.Context, meta events.Metadata, id ulid.ULID) (_ uint64, err error) {
		rotated, err = k.ThirdParties.RotateSecret(ctx, meta, id, overlap)
		return rotated.Position, err
	})
	return NewSecret{p.ID.String(), p.Name, rotated.Secret, rotated.PublicKey, rotated.PreviousUntil}, err
}

// thirdPartyChange changes a third party and returns the position of its event.
type thirdPartyChange func(context.Context, events.Metadata, ulid.ULID) (uint64, error)

// changeThirdParty returns the third party as it was before the change. It returns when the
// read model and the deliveries have the change.
func (k *Konto) changeThirdParty(ctx context.Context, meta events.Metadata, ref, act string, change thirdPartyChange) (events.ThirdParty, error) {
	p, err := k.findThirdParty(ctx, ref)
	if err != nil {
		return p, err
	}
	position, err := change(ctx, meta, p.ID)
	if errors.Is(err, commands.ErrNotFound) { // removed meanwhile
		return p, missing("there is no third party " + ref)
	}
	if err != nil {
		return p, err
	}
	k.Acted(meta, "third-party "+act, "third_party", p.ID.String())
	if err := k.WaitFor(ctx, position); err != nil || k.Server == nil {
		return p, err
	}
	return p, k.Server.Deliveries.WaitFor(ctx, position)
}

// Replayed says from which position a third party receives events again.
type Replayed struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	From uint64 `json:"from"`
}

// ReplayThirdParty delivers to a third party again every event that it subscribed to, from a position
// on, which counts from 1.
func (k *Konto) ReplayThirdParty(ctx context.Context, meta events.Metadata, ref string, from uint64) (Replayed, error) {
	if from == 0 {
		return Replayed{}, invalid("positions count from 1")
	}
	p, err := k.findThirdParty(ctx, ref)
	if err != nil {
		return Replayed{}, err
	}
	reading, err := k.reading(ctx, p)
	if err != nil {
		return Replayed{}, err
	}
	notThere := conflict(fmt.Sprintf("%s received the events up to position %d: none from position %d on can be delivered again", p.Name, reading, from))
	if from > reading {
		return Replayed{}, notThere
	}
	rewind := k.DeliveryStore.Rewind
	if k.Server != nil {
		rewind = k.Server.Deliveries.Rewind
	}
	err = rewind(ctx, p.ID, from-1)
	if errors.Is(err, deliveries.ErrNotReached) {
		return Replayed{}, notThere
	}
	if err != nil {
		return Replayed{}, err
	}
	k.Acted(meta, "replay third-party", "third_party", p.ID.String(), "from", from)
	return Replayed{p.ID.String(), p.Name, from}, nil
}

// reading returns the position up to which a third party's deliveries have read the log.
func (k *Konto) reading(ctx context.Context, p events.ThirdParty) (uint64, error) {
	position, known, err := k.DeliveryStore.Position(ctx, p.ID)
	if err == nil && !known {
		position = p.Checkpoint
	}
	return position, err
}
