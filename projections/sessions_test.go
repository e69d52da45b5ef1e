package projections

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func (h *fixture) openSession(session events.SessionOpened) (id ulid.ULID, token string) {
	h.t.Helper()
	id = ulid.Make()
	secret := sha256.Sum256(id[:])
	session.AuthType, session.SecretHash = "session", events.HashSecret(secret)
	h.append(events.CredentialStream(id), 0, session)
	return id, events.Token(id, secret)
}

// usable tells whether each token is let in.
func (h *fixture) usable(tokens ...string) []bool {
	h.t.Helper()
	let := make([]bool, len(tokens))
	for i, token := range tokens {
		_, err := h.model.Authenticate(h.t.Context(), token, time.Now())
		if err != nil && !errors.Is(err, ErrUnauthenticated) {
			h.t.Fatal(err)
		}
		let[i] = err == nil
	}
	return let
}

// The session that is opened last, in the same batch as the change, is only in
// the fold; the others are rows, in memory or in the file alone.
func TestPasswordChangeEndsTheOtherSessions(t *testing.T) {
	for name, batches := range map[string]struct{ one, cold bool }{
		"all in one batch":     {one: true},
		"sessions in memory":   {},
		"sessions in the file": {cold: true},
		"a rebuilt model":      {one: true, cold: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t)
			anna, bo := h.openAccount("anna@example.com"), h.openAccount("bo@example.com")
			kept, keptToken := h.openSession(events.SessionOpened{Account: anna})
			_, other := h.openSession(events.SessionOpened{Account: anna})
			_, impersonating := h.openSession(events.SessionOpened{Account: anna, Admin: "root"})
			_, delegated := h.openSession(events.SessionOpened{Account: anna, Parent: bo})
			_, granted := h.openSession(events.SessionOpened{Account: bo, Parent: anna})
			_, bos := h.openSession(events.SessionOpened{Account: bo})
			_, key := h.issueKey(events.KeyIssued{Account: anna})
			revoked, revokedToken := h.openSession(events.SessionOpened{Account: anna})
			h.append(events.CredentialStream(revoked), 1, events.CredentialRevoked{})
			if !batches.one {
				h.must(h.model.Apply(t.Context(), h.all(0)))
			}
			if batches.cold {
				h.clearCaches()
			}
			late, lateToken := h.openSession(events.SessionOpened{Account: anna})
			h.append(events.AccountStream(anna), 1, events.PasswordChanged{Hash: "$argon2id$1", Session: kept})
			_, after := h.openSession(events.SessionOpened{Account: anna})
			// A session that the change has ended may be closed all the same.
			h.append(events.CredentialStream(late), 1, events.CredentialRevoked{})
			h.must(h.model.Apply(t.Context(), h.all(h.position())))
			for _, memory := range []string{"warm", "cold"} {
				got := h.usable(keptToken, bos, key, after, other, impersonating, delegated, granted, lateToken, revokedToken)
				for i, want := range []bool{true, true, true, true, false, false, false, false, false, false} {
					if got[i] != want {
						t.Errorf("%s: credential %d is let in: %v", memory, i, got[i])
					}
				}
				h.clearCaches()
			}
		})
	}
}

func TestPasswordChangeByNoSessionEndsAll(t *testing.T) {
	h := newFixture(t)
	anna := h.openAccount("anna@example.com")
	_, token := h.openSession(events.SessionOpened{Account: anna})
	h.append(events.AccountStream(anna), 1, events.PasswordChanged{Hash: "$argon2id$1"})
	h.must(h.model.Apply(t.Context(), h.all(0)))
	if h.usable(token)[0] {
		t.Error("the session goes on")
	}
}
