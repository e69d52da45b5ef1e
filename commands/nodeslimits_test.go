//go:build servers

package commands

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// twoNodes are two nodes that count in one Postgres.
func twoNodes(t *testing.T, primary *postgrestest.Server) (nodes [2]*node) {
	t.Helper()
	first := newNode(t)
	for i := range nodes {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: primary.URL(), Unreplicated: true, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		limits := postgres.NewLimits(db, first.store.Derive(postgres.LimitsPurpose))
		nodes[i] = &node{NewAccounts(Config{Store: first.store, Counts: limits}), first.log, first.store}
	}
	return nodes
}

// request asks for another address with a password.
func request(t *testing.T, n *node, id ulid.ULID, email, password string) error {
	t.Helper()
	_, err := n.Do(t.Context(), id, events.Metadata{}, RequestEmailChange{NewEmail: email, CurrentPassword: password})
	return err
}

func TestNodesBoundWrongPasswordsTogether(t *testing.T) {
	nodes := twoNodes(t, postgrestest.Primary(t))
	id := nodes[0].withPassword(t)
	for i := range credentialGuesses.Most + 1 { // right ones do not count; the limit on requests is another
		if err := request(t, nodes[i%2], id, "new@example.se", goodPassword); err != nil && !errors.Is(err, ErrTooMany) {
			t.Fatal(err)
		}
	}
	judged := 0
	for _, err := range all(2*credentialGuesses.Most, func(i int) error { return request(t, nodes[i%2], id, "new@example.se", "guessed") }) {
		switch {
		case errors.Is(err, ErrInvalid):
			judged++
		case !errors.Is(err, ErrTooMany):
			t.Errorf("%v", err)
		}
	}
	if judged != credentialGuesses.Most {
		t.Errorf("%d of %d guesses were judged", judged, 2*credentialGuesses.Most)
	}
	for _, n := range nodes {
		var refused *TooMany
		if err := request(t, n, id, "new@example.se", goodPassword); !errors.As(err, &refused) || refused.Limit != credentialGuesses ||
			refused.RetryAfter <= 0 || refused.RetryAfter > credentialGuesses.Span {
			t.Errorf("the right password meanwhile: %v", err)
		}
	}
	if err := guessAs(t, nodes[1], id, "another credential", goodPassword); err != nil {
		t.Errorf("another credential's: %v", err)
	}
}

func TestNodesBoundWrongPasswordsOfAnAccountTogether(t *testing.T) {
	nodes := twoNodes(t, postgrestest.Primary(t))
	id := nodes[0].withPassword(t)
	judged := 0
	for i := range accountGuesses.Most + 5 {
		switch err := guessAs(t, nodes[i%2], id, fmt.Sprint("stolen ", i), "guessed"); {
		case errors.Is(err, ErrInvalid):
			judged++
		case !errors.Is(err, ErrTooMany):
			t.Errorf("%v", err)
		}
	}
	if judged != accountGuesses.Most {
		t.Errorf("%d guesses were judged", judged)
	}
}

func TestNodesBoundRequestsForTakenAddressesTogether(t *testing.T) {
	nodes := twoNodes(t, postgrestest.Primary(t))
	id := nodes[0].open(t, "anna")
	nodes[0].open(t, "bo")
	told := 0
	for _, err := range all(2*emailRequestLimit.Most, func(i int) error { return request(t, nodes[i%2], id, "bo@example.se", "") }) {
		switch {
		case errors.Is(err, ErrTaken):
			told++
		case !errors.Is(err, ErrTooMany):
			t.Errorf("%v", err)
		}
	}
	if told != emailRequestLimit.Most {
		t.Errorf("told of a taken address %d times", told)
	}
	for _, n := range nodes {
		var refused *TooMany
		if err := request(t, n, id, "free@example.se", ""); !errors.As(err, &refused) || refused.RetryAfter <= 0 || refused.RetryAfter > emailRequestLimit.Span {
			t.Errorf("a free address afterwards: %v", err)
		}
	}
}

func TestNoPasswordIsComparedWhenNobodyCanCount(t *testing.T) {
	primary := postgrestest.Primary(t)
	nodes := twoNodes(t, primary)
	id := nodes[0].withPassword(t)
	bo := nodes[0].open(t, "bo") // without a password
	primary.Kill(t)
	for _, password := range []string{"guessed", goodPassword} {
		if err := request(t, nodes[0], id, "new@example.se", password); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", password, err)
		}
	}
	for _, address := range []string{"anna@example.se", "free@example.se"} {
		if err := request(t, nodes[0], bo, address, ""); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a request for %s: %v", address, err)
		}
	}
	primary.Start(t)
	err := request(t, nodes[0], id, "new@example.se", "guessed")
	for range 100 {
		if !errors.Is(err, ErrUnavailable) {
			break
		}
		err = request(t, nodes[0], id, "new@example.se", "guessed") // its old connections are broken
	}
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("when it can count again: %v", err)
	}
}
