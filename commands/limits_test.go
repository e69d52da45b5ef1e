package commands

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func TestWrongPasswordsAreBounded(t *testing.T) {
	n := newNode(t)
	clock := time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)
	n.now = func() time.Time { return clock }
	id := n.withPassword(t)
	guess := func(password string) error {
		_, err := n.Do(t.Context(), id, events.Metadata{}, RequestEmailChange{NewEmail: "new@example.se", CurrentPassword: password})
		return err
	}
	judged := 0
	for _, err := range all(2*credentialGuesses.Most, func(int) error { return guess("guessed") }) {
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
	if err := guess(goodPassword); !errors.Is(err, ErrTooMany) {
		t.Errorf("the right password meanwhile: %v", err)
	}
	clock = clock.Add(credentialGuesses.Span)
	for range credentialGuesses.Most + 1 { // right ones do not count; the limit on requests is another
		if err := guess(goodPassword); err != nil && !errors.Is(err, ErrTooMany) {
			t.Fatal(err)
		}
	}
	if err := guess("guessed"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a wrong one after many right ones: %v", err)
	}
}

// guessAs asks for another address in the name of a credential.
func guessAs(t *testing.T, n *node, id ulid.ULID, credential, password string) error {
	t.Helper()
	meta := events.Metadata{Actor: events.Actor{Kind: "session", ID: credential}}
	_, err := n.Do(t.Context(), id, meta, ChangePassword{CurrentPassword: password, NewPassword: betterPassword})
	return err
}

func TestWrongPasswordsOfOneCredentialDoNotLockAnother(t *testing.T) {
	n := newNode(t)
	id := n.withPassword(t)
	for range 2 * credentialGuesses.Most {
		if err := guessAs(t, n, id, "stolen", "guessed"); err == nil {
			t.Fatal("a wrong password was right")
		}
	}
	var refused *TooMany
	if err := guessAs(t, n, id, "stolen", goodPassword); !errors.As(err, &refused) || refused.Limit != credentialGuesses {
		t.Errorf("the stolen one: %v", err)
	}
	if err := guessAs(t, n, id, "owner", goodPassword); err != nil {
		t.Errorf("the owner's: %v", err)
	}
}

func TestWrongPasswordsOfAnAccountAreBoundedInAll(t *testing.T) {
	n := newNode(t)
	clock := time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)
	n.now = func() time.Time { return clock }
	id := n.withPassword(t)
	judged := 0
	for i := range 2 * accountGuesses.Most {
		switch err := guessAs(t, n, id, fmt.Sprint("stolen ", i), "guessed"); {
		case errors.Is(err, ErrInvalid):
			judged++
		case !errors.Is(err, ErrTooMany):
			t.Errorf("%v", err)
		}
	}
	if judged != accountGuesses.Most {
		t.Errorf("%d guesses were judged", judged)
	}
	var refused *TooMany
	if err := guessAs(t, n, id, "owner", goodPassword); !errors.As(err, &refused) || refused.Limit != accountGuesses || refused.RetryAfter != accountGuesses.Span {
		t.Errorf("refused with %+v", err)
	}
	clock = clock.Add(accountGuesses.Span)
	if err := guessAs(t, n, id, "owner", goodPassword); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// numbered is a key of a counter.
type numbered int

func (n numbered) Bytes() []byte { return fmt.Append(nil, int(n)) }

func TestCountersKeepABoundedNumberOfKeys(t *testing.T) {
	c := newCounter[numbered](credentialGuesses, nil)
	for i := range 2 * maxCounted {
		_ = c.add(t.Context(), numbered(i), time.Unix(0, 0))
	}
	if n := c.counts.Len(); n != maxCounted {
		t.Errorf("%d are kept", n)
	}
}

// halfway counts and does not subtract: what counts for all nodes was cut off in between.
type halfway struct{ Counts }

func (halfway) Add(context.Context, string, []byte, int, time.Duration) (int, time.Duration, error) {
	return 0, time.Minute, nil
}

func (halfway) Subtract(ctx context.Context, _ string, _ []byte) error {
	return errors.Join(ctx.Err(), errors.New("cut off"))
}

func TestRightPasswordThatCannotBeSubtractedIsRight(t *testing.T) {
	n := newNode(t)
	n.Accounts = NewAccounts(Config{Store: n.store, Counts: halfway{}})
	id := n.withPassword(t)
	if err := guessAs(t, n, id, "owner", goodPassword); err != nil {
		t.Error(err)
	}
}

// ended records whether it is asked although the caller has left.
type ended struct {
	halfway
	err []error
}

func (e *ended) Subtract(ctx context.Context, _ string, _ []byte) error {
	e.err = append(e.err, ctx.Err())
	return nil
}

func TestCallerWhoLeavesIsNotCounted(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	leave()
	counts := &ended{}
	newCounter[numbered](credentialGuesses, counts).subtract(ctx, 1)
	if len(counts.err) != 1 || counts.err[0] != nil {
		t.Errorf("was asked to subtract: %v", counts.err)
	}
}
