package commands

import (
	"errors"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

const goodPassword, betterPassword = "correct horse battery staple", "pink giraffe on a tram"

// withPassword opens an account whose password is goodPassword.
func (n *node) withPassword(t *testing.T) ulid.ULID {
	t.Helper()
	id := n.open(t, "anna")
	n.do(t, id, ChangePassword{NewPassword: goodPassword})
	return id
}

func TestChangePassword(t *testing.T) {
	n := newNode(t)
	id, session := n.withPassword(t), ulid.Make()
	n.do(t, id, ChangePassword{CurrentPassword: goodPassword, NewPassword: betterPassword, Session: session})
	a, err := n.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{goodPassword: false, betterPassword: true} {
		if ok, err := verifyPassword(t.Context(), password, a.PasswordHash); ok != want || err != nil {
			t.Errorf("%s is it: %v, %v", password, ok, err)
		}
	}
	evs := n.history(t, id)
	last, err := evs[len(evs)-1].Payload()
	if err != nil || last.(events.PasswordChanged).Session != session {
		t.Errorf("recorded %+v, %v", last, err)
	}
}

func TestWeakAndWrongPasswordsAreRefused(t *testing.T) {
	n := newNode(t)
	id := n.withPassword(t)
	for name, tt := range map[string]struct {
		current, next string
		want          string
	}{
		"no current one":       {"", betterPassword, "/currentPassword must_be_set"},
		"a wrong current one":  {"guessed", betterPassword, "/currentPassword incorrect"},
		"none":                 {goodPassword, "", "/newPassword must_be_set"},
		"short":                {goodPassword, "kX9#m", "/newPassword weak_password"},
		"common":               {goodPassword, "password1", "/newPassword weak_password"},
		"the address":          {goodPassword, "Anna@example.se", "/newPassword weak_password"},
		"long":                 {goodPassword, strings.Repeat("x", 1025), "/newPassword too_long"},
		"long and repeated":    {goodPassword, strings.Repeat("a", 1024), "/newPassword weak_password"},
		"a control character":  {goodPassword, betterPassword + "\a", "/newPassword invalid_format"},
		"both wrong, together": {"guessed", "", "/currentPassword incorrect /newPassword must_be_set"},
		// Strength is judged only for who knows the current password.
		"a wrong current one and a weak one": {"guessed", "password1", "/currentPassword incorrect"},
	} {
		_, err := n.Do(t.Context(), id, events.Metadata{}, ChangePassword{CurrentPassword: tt.current, NewPassword: tt.next})
		var invalid *Invalid
		if !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, f := range invalid.Fields {
			got = append(got, f.Field+" "+f.Code)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := n.types(t, id); got != "AccountOpened PasswordChanged" {
		t.Errorf("history %s", got)
	}
}

// Judging strength takes long, so nobody makes konto do it without the current
// password or after too many wrong ones.
func TestStrengthIsJudgedOnlyForTheRightPassword(t *testing.T) {
	n := newNode(t)
	id := n.withPassword(t)
	prepared := func(current string) ChangePassword {
		c, err := ChangePassword{CurrentPassword: current, NewPassword: "password1"}.prepare(t.Context(), n.Accounts, caller{account: id})
		if err != nil {
			t.Fatal(err)
		}
		return c.(ChangePassword)
	}
	if !prepared(goodPassword).judged {
		t.Error("with the right password it is not judged")
	}
	for range credentialGuesses.Most {
		if prepared("guessed").judged || prepared("").judged {
			t.Error("without the right password it is judged")
		}
	}
	if c := prepared(goodPassword); c.judged || c.proof.refused == nil {
		t.Error("with the limit used up it is judged")
	}
}

func TestVersionReachedAfterPrepareIsBusy(t *testing.T) {
	n := newNode(t)
	id := n.withPassword(t)
	early := ChangePassword{CurrentPassword: goodPassword, NewPassword: betterPassword, If: Condition{Match: &Versions{List: []uint64{3}}}}
	c, err := early.prepare(t.Context(), n.Accounts, caller{account: id})
	if err != nil {
		t.Fatal(err)
	}
	after := n.do(t, id, alias("anna")).Account
	if d, err := decide(*after, c); !errors.Is(err, ErrBusy) || d.payloads != nil {
		t.Errorf("%v, %v", d.payloads, err)
	}
}

// What was verified is worth nothing once the password is another one.
func TestProofIsValidForOneHash(t *testing.T) {
	n := newNode(t)
	id := n.withPassword(t)
	before, _ := n.Load(t.Context(), id)
	stale, err := ChangePassword{CurrentPassword: goodPassword, NewPassword: "stale giraffe on a tram"}.prepare(t.Context(), n.Accounts, caller{account: id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decide(before, stale); err != nil {
		t.Errorf("on the state it was verified for: %v", err)
	}
	after := n.do(t, id, ChangePassword{CurrentPassword: goodPassword, NewPassword: betterPassword}).Account
	if _, err := decide(*after, stale); !errors.Is(err, ErrBusy) {
		t.Errorf("on another: %v", err)
	}
}

func TestOfManyPasswordChangesAtOnceOneWins(t *testing.T) {
	n := newNode(t)
	id := n.withPassword(t)
	won := 0
	for _, err := range all(4, func(int) error {
		_, err := n.Do(t.Context(), id, events.Metadata{}, ChangePassword{CurrentPassword: goodPassword, NewPassword: betterPassword})
		return err
	}) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrBusy) && !errors.Is(err, ErrInvalid):
			t.Errorf("%v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d won", won)
	}
}

func TestCostlyAndMalformedHashesAreNotVerified(t *testing.T) {
	const salted = "$c2FsdHNhbHRzYWx0c2FsdA$"
	key := salted + strings.Repeat("A", 43)
	for name, hash := range map[string]string{
		"empty":           "$argon2id$",
		"another kind":    "$argon2i$v=19$m=64,t=1,p=1" + key,
		"another version": "$argon2id$v=16$m=64,t=1,p=1" + key,
		"no time":         "$argon2id$v=19$m=64,t=0,p=1" + key,
		"no threads":      "$argon2id$v=19$m=64,t=1,p=0" + key,
		"much memory":     "$argon2id$v=19$m=4194304,t=1,p=1" + key,
		"much time":       "$argon2id$v=19$m=64,t=4000000000,p=1" + key,
		"a short key":     "$argon2id$v=19$m=64,t=1,p=1" + salted + "AAAA",
		"no key":          "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA",
		"broken base64":   "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$!",
	} {
		if ok, err := verifyPassword(t.Context(), "x", hash); ok || !errors.Is(err, errHash) {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}
