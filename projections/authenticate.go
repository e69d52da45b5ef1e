package projections

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"konto/events"
)

// ErrUnauthenticated tells that a token names no usable credential. It does not
// tell why not, as that would help whoever guesses tokens.
var ErrUnauthenticated = errors.New("no usable credential")

// Authenticate returns the credential that a token belongs to, or
// ErrUnauthenticated when there is none or it is revoked or expired at the
// given time. It answers from memory once a credential was used. A revocation
// holds for every call that begins after the follower reached its position.
// What the credential's slices point to belongs to the read model.
func (m *ReadModel) Authenticate(ctx context.Context, token string, at time.Time) (events.Credential, error) {
	id, secretHash, err := events.ParseToken(token)
	if err != nil {
		return events.Credential{}, ErrUnauthenticated
	}
	c, ok, err := m.Credential(ctx, id)
	if err != nil {
		return events.Credential{}, err
	}
	if !ok || subtle.ConstantTimeCompare(secretHash, c.SecretHash) != 1 || !c.Usable(at) {
		return events.Credential{}, ErrUnauthenticated
	}
	return c, nil
}
