package events_test

import (
	"bytes"
	"regexp"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// keyed makes codes with a keyring of one key.
func keyed(key string) events.EmailCodes {
	return events.NewEmailCodes(func(purpose string) []byte { return []byte(purpose + key) })
}

func TestEmailCodesAreSixDigitsThatFollowFromRequestAndKey(t *testing.T) {
	codes, others := keyed("a key"), keyed("another key")
	seen, shared := map[string]bool{}, 0
	for range 1000 {
		request := ulid.Make()
		code := codes.Code(request)
		if !regexp.MustCompile(`\A[0-9]{6}\z`).MatchString(code) {
			t.Fatalf("code %q", code)
		}
		if codes.Code(request) != code {
			t.Fatal("the code cannot be made again")
		}
		if others.Code(request) == code {
			shared++
		}
		seen[code] = true
	}
	// Of 1000 draws among a million, one or two meet by chance.
	if len(seen) < 980 || shared > 10 {
		t.Errorf("%d different codes, %d shared with another key", len(seen), shared)
	}
}

func TestHashOfACodeDependsOnRequestAndKey(t *testing.T) {
	codes, request := keyed("a key"), ulid.Make()
	hash := codes.Hash(request, "012345")
	if !bytes.Equal(hash, codes.Hash(request, " 012 345\n")) {
		t.Error("white space counts")
	}
	for name, other := range map[string][]byte{
		"another code":    codes.Hash(request, "012346"),
		"another request": codes.Hash(ulid.Make(), "012345"),
		"another key":     keyed("another key").Hash(request, "012345"),
	} {
		if bytes.Equal(hash, other) {
			t.Errorf("%s has the same hash", name)
		}
	}
}
