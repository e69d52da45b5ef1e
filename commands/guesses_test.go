package commands

import (
	"errors"
	"testing"
	"time"

	"konto/events"
)

func TestPasswordsAreNotGuessedWithoutEnd(t *testing.T) {
	n := newNode(t)
	clock := time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)
	n.now = func() time.Time { return clock }
	id := n.withPassword(t)
	guess := func(password string) error {
		_, err := n.Do(t.Context(), id, events.Metadata{}, RequestEmailChange{NewEmail: "new@example.se", CurrentPassword: password})
		return err
	}
	judged := 0
	for _, err := range all(2*maxGuesses, func(int) error { return guess("guessed") }) {
		switch {
		case errors.Is(err, ErrInvalid):
			judged++
		case !errors.Is(err, ErrTooMany):
			t.Errorf("%v", err)
		}
	}
	if judged != maxGuesses {
		t.Errorf("%d of %d guesses were judged", judged, 2*maxGuesses)
	}
	if err := guess(goodPassword); !errors.Is(err, ErrTooMany) {
		t.Errorf("the right password meanwhile: %v", err)
	}
	clock = clock.Add(guessesFor)
	for range maxGuesses + 1 { // right ones do not count; the limit on requests is another
		if err := guess(goodPassword); err != nil && !errors.Is(err, ErrTooMany) {
			t.Fatal(err)
		}
	}
	if err := guess("guessed"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a wrong one after many right ones: %v", err)
	}
}
