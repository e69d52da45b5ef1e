package projections

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// ErrUnauthenticated is returned for a token that names no usable credential. It
// does not say why, because that would help somebody who guesses tokens.
var ErrUnauthenticated = errors.New("no usable credential")

// Authenticate returns the credential that a token belongs to, or
// ErrUnauthenticated if there is none or if it is revoked or expired at the given
// time. Credentials that were used before come from the cache. A revocation holds for
// every call that begins after the follower reached its position. The caller must not
// change what the credential's slices point to.
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
	m.uses.Add(id, at)
	return c, nil
}

// LastUse returns when Authenticate last admitted a credential. ok is false if it did not since the
// read model was opened, or not among the last 65,536 credentials. It is in memory only: a use is no
// event, and a write for each use would cost more than most requests.
func (m *ReadModel) LastUse(id ulid.ULID) (at time.Time, ok bool) { return m.uses.Peek(id) }
