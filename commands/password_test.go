package commands

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
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

func TestHashingWaitsForItsTurnNoLongerThanItsCaller(t *testing.T) {
	for range cap(hashing) {
		hashing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := HashPassword(ctx, "lösenord"); !errors.Is(err, context.Canceled) {
		t.Errorf("while all turns are taken: %v", err)
	}
	for range cap(hashing) {
		<-hashing
	}
	if _, err := HashPassword(t.Context(), "lösenord"); err != nil || len(hashing) != 0 {
		t.Errorf("afterwards: %v, %d turns taken", err, len(hashing))
	}
}
