package commands

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"konto/events"
)

func TestHashPasswordIsArgon2idInPHCFormat(t *testing.T) {
	hash, err := HashPassword(t.Context(), "lösenord")
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$")
	salt64, key64, _ := strings.Cut(rest, "$")
	salt, saltErr := base64.RawStdEncoding.DecodeString(salt64)
	key, keyErr := base64.RawStdEncoding.DecodeString(key64)
	if !ok || saltErr != nil || keyErr != nil || len(salt) != 16 {
		t.Fatalf("got %s", hash)
	}
	if !bytes.Equal(key, argon2.IDKey([]byte("lösenord"), salt, 2, 19456, 1, 32)) {
		t.Error("the key is not the password's")
	}
	if again, _ := HashPassword(t.Context(), "lösenord"); again == hash {
		t.Error("two hashes share a salt")
	}
}

func TestPasswordLength(t *testing.T) {
	for n, want := range map[int]error{0: ErrInvalid, 5: ErrInvalid, 6: nil, 1024: nil, 1025: ErrInvalid} {
		if _, err := HashPassword(t.Context(), strings.Repeat("å", n)); !errors.Is(err, want) {
			t.Errorf("%d characters: %v", n, err)
		}
	}
}

// Two ways to write one password are one password (RFC 8265, OpaqueString).
func TestPasswordsAreComparedAfterNormalisation(t *testing.T) {
	for name, tt := range map[string]struct{ set, typed string }{
		"NFC and NFD":        {"lösenord", "lo\u0308senord"},
		"NFD and NFC":        {"lo\u0308senord", "lösenord"},
		"spaces":             {"ett lösen", "ett\u00a0lösen"},
		"ideographic spaces": {"ett\u3000lösen", "ett lösen"},
		"angstrom":           {"\u212bngström", "Ångström"},
	} {
		hash, err := HashPassword(t.Context(), tt.set)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := verifyPassword(t.Context(), tt.typed, hash); !ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	hash, _ := HashPassword(t.Context(), "Lösenord")
	for _, other := range []string{"lösenord", "Losenord", "Lösenord ", "Ｌösenord"} {
		if ok, err := verifyPassword(t.Context(), other, hash); ok || err != nil {
			t.Errorf("%s: %v, %v", other, ok, err)
		}
	}
}

// Earlier builds and other systems hashed a password as it was written.
func TestPasswordsThatWereStoredAsWrittenStayGood(t *testing.T) {
	for _, stored := range []string{"lo\u0308senord", "ett\u00a0lösen", "tab\tand bell\a", "\u0378 unassigned", "\xff no UTF-8", "å"} {
		hash := hashPassword(stored)
		if ok, err := verifyPassword(t.Context(), stored, hash); !ok || err != nil {
			t.Errorf("%q: %v, %v", stored, ok, err)
		}
	}
}

func TestPasswordsThatCannotBeSet(t *testing.T) {
	for password, code := range map[string]string{
		"":                              CodeInvalidValue,
		"lösen\a":                       CodeInvalidFormat,
		"lösen\tord":                    CodeInvalidFormat,
		"lösenord\u0378":                CodeInvalidFormat, // not assigned
		"lösenord\xff":                  CodeInvalidFormat,
		strings.Repeat("o\u0308", 5):    CodeInvalidValue, // five characters
		strings.Repeat("o\u0308", 1025): CodeTooLong,
		strings.Repeat("\u1100", 6):     CodeInvalidFormat, // old Hangul
	} {
		_, err := HashPassword(t.Context(), password)
		var invalid *Invalid
		if !errors.As(err, &invalid) || invalid.Fields[0].Code != code {
			t.Errorf("%.20q: %v", password, err)
		}
	}
	for _, password := range []string{strings.Repeat("o\u0308", 6), strings.Repeat("o\u0308", 1024)} {
		if _, err := HashPassword(t.Context(), password); err != nil {
			t.Errorf("%.20q: %v", password, err)
		}
	}
}

func TestHashingWaitsForItsTurnNoLongerThanItsCaller(t *testing.T) {
	for range cap(hashing) {
		hashing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := HashPassword(ctx, "lösenord"); !errors.Is(err, context.Canceled) {
		t.Errorf("while all turns are taken: %v", err)
	}
	if _, err := hashIfStrong(ctx, "password1", &events.Account{}); !errors.Is(err, context.Canceled) {
		t.Errorf("while all turns are taken, strength is judged: %v", err)
	}
	for range cap(hashing) {
		<-hashing
	}
	if _, err := HashPassword(t.Context(), "lösenord"); err != nil || len(hashing) != 0 {
		t.Errorf("afterwards: %v, %d turns taken", err, len(hashing))
	}
}
