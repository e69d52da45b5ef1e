package admin

import (
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/server"
	"konto/commands"
	"konto/events"
	kontohttp "konto/http"
	"konto/projections/deliveries"
)

func (k *Konto) thirdPartyRoutes() []kontohttp.Route {
	const all, one = "/third-parties", "/third-parties/{ref}"
	return []kontohttp.Route{
		get(all, func(r *request) (Page[ThirdParty], error) {
			given, limit, err := paging(r)
			if err != nil {
				return Page[ThirdParty]{}, err
			}
			return k.ListThirdParties(r.Context(), given["after"], limit)
		}),
		create(all, k.addThirdParty),
		get(one, func(r *request) (ThirdParty, error) { return k.ThirdParty(r.Context(), r.Param("ref")) }),
		get(one+"/accounts/{account}", func(r *request) (Standing, error) {
			id, err := k.accountOf(r)
			if err != nil {
				return Standing{}, err
			}
			return k.Standing(r.Context(), r.Param("ref"), id)
		}),
		act(one+"/pause", func(r *request) (ThirdPartyState, error) {
			return k.PauseThirdParty(r.Context(), r.Metadata(), r.Param("ref"))
		}),
		act(one+"/resume", func(r *request) (ThirdPartyState, error) {
			return k.ResumeThirdParty(r.Context(), r.Metadata(), r.Param("ref"))
		}),
		act(one+"/remove", k.removeThirdParty),
		act(one+"/rotate-secret", k.rotateSecret),
		act(one+"/test", func(r *request) (Sent, error) {
			return k.TestThirdParty(r.Context(), r.Metadata(), r.Param("ref"), server.SenderOptions{})
		}),
		act(one+"/redeliver", k.redeliver),
		act(one+"/replay", k.replayThirdParty),
		get("/deliveries", k.getDeliveries),
	}
}

func (k *Konto) addThirdParty(r *request) (NewSecret, error) {
	var body struct {
		Name   string   `json:"name"`
		URL    string   `json:"url"`
		Format string   `json:"format"`
		Events []string `json:"events"`
	}
	body.Format = events.FormatCloudEvents
	if err := r.Read(&body); err != nil {
		return NewSecret{}, err
	}
	return k.AddThirdParty(r.Context(), r.Metadata(), commands.AddThirdParty{
		Name: body.Name, URL: body.URL, Format: body.Format, Events: body.Events,
	})
}

func (k *Konto) removeThirdParty(r *request) (ThirdPartyState, error) {
	p, err := k.ThirdParty(r.Context(), r.Param("ref"))
	if err != nil {
		return ThirdPartyState{}, err
	}
	if err := confirmed(r, p.ID); err != nil {
		return ThirdPartyState{}, err
	}
	return k.RemoveThirdParty(r.Context(), r.Metadata(), p.ID)
}

// usualOverlap is how long a previous secret also signs if nothing else is asked for.
const usualOverlap = 24 * time.Hour

func (k *Konto) rotateSecret(r *request) (NewSecret, error) {
	var body struct {
		Overlap *int `json:"overlapSeconds"`
	}
	if err := r.Read(&body); err != nil {
		return NewSecret{}, err
	}
	overlap := usualOverlap
	if body.Overlap != nil {
		if *body.Overlap < 0 || *body.Overlap > int(commands.MaxSecretOverlap/time.Second) {
			return NewSecret{}, invalid(fmt.Sprintf("overlapSeconds is from 0 to %d", commands.MaxSecretOverlap/time.Second))
		}
		overlap = time.Duration(*body.Overlap) * time.Second
	}
	return k.RotateSecret(r.Context(), r.Metadata(), r.Param("ref"), overlap)
}

func (k *Konto) redeliver(r *request) (Sent, error) {
	var body struct {
		Event string `json:"event"`
		Older bool   `json:"older"`
	}
	if err := r.Read(&body); err != nil {
		return Sent{}, err
	}
	id, err := ulid.ParseStrict(body.Event)
	if err != nil {
		return Sent{}, invalid("event is not an event's id")
	}
	return k.Redeliver(r.Context(), r.Metadata(), r.Param("ref"), id, body.Older, server.SenderOptions{})
}

func (k *Konto) replayThirdParty(r *request) (Replayed, error) {
	var body struct {
		From uint64 `json:"from"`
	}
	if err := r.Read(&body); err != nil {
		return Replayed{}, err
	}
	return k.ReplayThirdParty(r.Context(), r.Metadata(), r.Param("ref"), body.From)
}

func (k *Konto) getDeliveries(r *request) (Page[Attempt], error) {
	given, limit, err := paging(r, "thirdParty", "account", "status")
	if err != nil {
		return Page[Attempt]{}, err
	}
	filter := AttemptFilter{ThirdParty: given["thirdParty"], Status: given["status"]}
	switch filter.Status {
	case "", deliveries.OutcomeDelivered, deliveries.OutcomeRetrying, deliveries.OutcomeFailed, deliveries.OutcomeAborted, deliveries.OutcomeSkipped:
	default:
		return Page[Attempt]{}, invalid("status is delivered, retrying, failed, aborted or skipped")
	}
	if id, ok := given["account"]; ok {
		if filter.Account, err = k.byID(r, id); err != nil {
			return Page[Attempt]{}, err
		}
	}
	return k.ListAttempts(r.Context(), filter, given["after"], limit)
}
