package commands

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

func TestHashPasswordIsArgon2idInPHCFormat(t *testing.T) {
	hash, err := HashPassword("lösenord")
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
	if again, _ := HashPassword("lösenord"); again == hash {
		t.Error("two hashes share a salt")
	}
}

func TestPasswordLength(t *testing.T) {
	for n, want := range map[int]error{0: ErrInvalid, 5: ErrInvalid, 6: nil, 1024: nil, 1025: ErrInvalid} {
		if _, err := HashPassword(strings.Repeat("å", n)); !errors.Is(err, want) {
			t.Errorf("%d characters: %v", n, err)
		}
	}
}
