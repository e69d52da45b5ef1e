package projections

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func TestAuthenticateAcceptsUsableCredentials(t *testing.T) {
	h := newFixture(t)
	account := h.openAccount("a@example.com")
	id, token := h.issueKey(events.KeyIssued{Account: account, Scopes: []string{"me"}})
	h.must(h.model.Apply(t.Context(), h.all(0)))
	for _, from := range []string{"memory", "file", "memory again"} {
		c, err := h.model.Authenticate(t.Context(), token, time.Now())
		h.must(err)
		if c.ID != id || c.Account != account || len(c.Scopes) != 1 {
			t.Errorf("from %s: %+v", from, c)
		}
		if from == "memory" {
			h.clearCaches()
		}
	}
}

func TestAuthenticateRefusesAllOthersAlike(t *testing.T) {
	h := newFixture(t)
	_, token := h.issueKey(events.KeyIssued{Client: "billing"})
	revoked, revokedToken := h.issueKey(events.KeyIssued{Client: "billing"})
	h.append(events.CredentialStream(revoked), 1, events.CredentialRevoked{})
	session, secret := ulid.Make(), [events.SecretSize]byte{1}
	expires := time.Now().Add(time.Hour)
	h.append(events.CredentialStream(session), 0, events.SessionOpened{
		AuthType: "session", SecretHash: events.HashSecret(secret), ExpiresAt: expires,
	})
	h.must(h.model.Apply(t.Context(), h.all(0)))

	_, err := h.model.Authenticate(t.Context(), events.Token(session, secret), expires.Add(-time.Second))
	h.must(err)
	tests := map[string]struct {
		token string
		at    time.Time
	}{
		"empty":         {"", time.Now()},
		"malformed":     {"konto_nonsense", time.Now()},
		"unknown":       {events.Token(ulid.Make(), secret), time.Now()},
		"wrong secret":  {events.Token(session, [events.SecretSize]byte{2}), time.Now()},
		"swapped":       {token[:6+ulid.EncodedSize] + revokedToken[6+ulid.EncodedSize:], time.Now()},
		"upper case":    {strings.ToUpper(token), time.Now()},
		"revoked":       {revokedToken, time.Now()},
		"expired":       {events.Token(session, secret), expires},
		"trailing text": {token + "a", time.Now()},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for range 2 { // from the file, from memory
				c, err := h.model.Authenticate(t.Context(), test.token, test.at)
				if err != ErrUnauthenticated || c.Version != 0 {
					t.Errorf("%+v, %v", c, err)
				}
			}
		})
	}
}

func TestValuesReadBeforeACommitAreNotCached(t *testing.T) {
	r := newCache[string](10)
	id := ulid.Make()
	_, _, generation := r.get(id)
	r.commit(map[ulid.ULID]string{ulid.Make(): "another row"})
	r.add(id, "from before", generation)
	if row, ok, _ := r.get(id); ok {
		t.Errorf("%q was kept", row)
	}

	_, _, generation = r.get(id)
	r.add(id, "old", generation)
	r.commit(map[ulid.ULID]string{id: "new"})
	if row, _, _ := r.get(id); row != "new" {
		t.Errorf("after a commit: %q", row)
	}

	_, _, generation = r.get(id)
	r.evict(id)
	r.add(id, "from before", generation)
	if row, ok, _ := r.get(id); ok {
		t.Errorf("after an unknown outcome: %q", row)
	}
}

// Many requests use a key while it is revoked and while memory is cleared under
// them, so that loads and the commit race. None that begins after WaitFor
// returned may succeed.
func TestRevocationHoldsOnceItsPositionIsReached(t *testing.T) {
	h := newFixture(t)
	h.run()
	for range 40 {
		id, token := h.issueKey(events.KeyIssued{Client: "billing"})
		h.drain()
		h.model.credentials.evict(id)
		stop := make(chan struct{})
		var users sync.WaitGroup
		for range 4 {
			users.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					_, err := h.model.Authenticate(t.Context(), token, time.Now())
					if err != nil && !errors.Is(err, ErrUnauthenticated) {
						t.Error(err)
						return
					}
				}
			})
		}
		position := h.append(events.CredentialStream(id), 1, events.CredentialRevoked{})
		h.must(h.follower.WaitFor(t.Context(), position))
		for range 3 {
			if _, err := h.model.Authenticate(t.Context(), token, time.Now()); err != ErrUnauthenticated {
				t.Errorf("after the revocation: %v", err)
			}
		}
		close(stop)
		users.Wait()
		if _, err := h.model.Authenticate(t.Context(), token, time.Now()); err != ErrUnauthenticated {
			t.Errorf("once all loads ended: %v", err)
		}
	}
}
