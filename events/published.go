package events

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"
)

// PublishedEmailChangeRequested is EmailChangeRequested as it leaves konto:
// without the hash, which the code could be guessed from.
type PublishedEmailChangeRequested struct {
	NewEmail  string    `json:"newEmail"`
	Request   ulid.ULID `json:"request"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// PublishedPasswordChanged is PasswordChanged as it leaves konto: that it
// happened, and nothing else.
type PublishedPasswordChanged struct{}

// Published is what leaves konto of an account event's payload: the payload, or
// what stands for it without its secrets. Consumers' schemas are made of it, so
// that what they are promised and what they get is one thing.
func Published(p Payload) any {
	switch p := p.(type) {
	case EmailChangeRequested:
		return PublishedEmailChangeRequested{NewEmail: p.NewEmail, Request: p.Request, ExpiresAt: p.ExpiresAt}
	case PasswordChanged:
		return PublishedPasswordChanged{}
	}
	return p
}

// published is the event's data without what must not leave konto. Only types
// that hold secrets are decoded: the others' stored bytes are their published ones.
func published(e Event) ([]byte, error) {
	switch e.Type {
	case TypeEmailChangeRequested, TypePasswordChanged:
	default:
		return e.Data, nil
	}
	p, err := e.Payload()
	if err != nil {
		return nil, err
	}
	return json.Marshal(Published(p))
}
