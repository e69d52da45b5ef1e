package events_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

func TestCredentialFold(t *testing.T) {
	id, parent := ulid.Make(), ulid.Make()
	hash := []byte{1, 2, 3}
	expires := opened.Add(time.Hour)
	tests := map[string]struct {
		issued events.Payload
		want   events.Credential
	}{
		"an account's key": {
			events.KeyIssued{Account: accountID, Scopes: []string{"r"}, SecretHash: hash},
			events.Credential{Kind: events.KindKey, Account: accountID, Scopes: []string{"r"}, AuthType: "api-key"},
		},
		"a client's token": {
			events.KeyIssued{Client: "kassan", Scopes: []string{"r"}, SecretHash: hash},
			events.Credential{Kind: events.KindClient, Name: "kassan", Scopes: []string{"r"}, AuthType: "api-key"},
		},
		"a consumer's key": {
			events.KeyIssued{Consumer: "billing", SecretHash: hash},
			events.Credential{Kind: events.KindConsumer, Name: "billing", AuthType: "api-key"},
		},
		"an administrator's key": {
			events.KeyIssued{Admin: "eva", Role: events.RoleViewer, Label: "laptop", ExpiresAt: expires, SecretHash: hash},
			events.Credential{Kind: events.KindAdmin, Name: "eva", Roles: []string{"viewer"}, AuthType: "api-key", Label: "laptop", ExpiresAt: expires},
		},
		"a key of a system that sends facts": {
			events.KeyIssued{Inbound: "registry", SecretHash: hash},
			events.Credential{Kind: events.KindInbound, Name: "registry", AuthType: "api-key"},
		},
		"a session": {
			events.SessionOpened{Account: accountID, AuthType: "admin", Scopes: []string{"r"}, Admin: "ek", Roles: []string{"support"},
				Parent: parent, Label: "l", Grant: "g", SecretHash: hash, ExpiresAt: expires},
			events.Credential{Kind: events.KindSession, Account: accountID, AuthType: "admin", Scopes: []string{"r"}, Admin: "ek", Roles: []string{"support"},
				Parent: parent, Label: "l", Grant: "g", ExpiresAt: expires},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var c events.Credential
			c.Apply(events.Event{Stream: events.CredentialStream(id), Version: 1, Time: opened}, test.issued)
			want := test.want
			want.ID, want.SecretHash, want.Issued, want.Version = id, hash, opened, 1
			if !reflect.DeepEqual(c, want) {
				t.Errorf("got  %+v\nwant %+v", c, want)
			}
			c.Apply(events.Event{Version: 2, Time: opened.Add(time.Minute)}, events.CredentialRevoked{})
			want.Revoked, want.Version = opened.Add(time.Minute), 2
			if !reflect.DeepEqual(c, want) {
				t.Errorf("revoked: got  %+v\nwant %+v", c, want)
			}
			c.Apply(events.Event{Version: 3, Time: opened}, events.EmailChanged{})
			if !reflect.DeepEqual(c, want) {
				t.Errorf("an account's event changed it to %+v", c)
			}
		})
	}
}

func TestCredentialIsUsableUntilItEnds(t *testing.T) {
	expires := opened.Add(time.Hour)
	tests := map[string]struct {
		credential events.Credential
		at         time.Time
		want       bool
	}{
		"without an end":         {events.Credential{Version: 1}, opened, true},
		"before its end":         {events.Credential{Version: 1, ExpiresAt: expires}, expires.Add(-1), true},
		"at its end":             {events.Credential{Version: 1, ExpiresAt: expires}, expires, false},
		"revoked":                {events.Credential{Version: 2, Revoked: opened, ExpiresAt: expires}, opened, false},
		"one that was not given": {events.Credential{}, opened, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.credential.Usable(test.at); got != test.want {
				t.Errorf("usable: %v", got)
			}
		})
	}
}

var (
	tokenSecret = [events.SecretSize]byte{0xff, 1, 2, 3, 31: 0xfe}
	goodToken   = events.Token(accountID, tokenSecret)
)

func TestTokenKeepsItsForm(t *testing.T) {
	const want = "konto_01hxa3b4c5d6e7f8g9h0j1k2m3_74aqeayaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad7a"
	if goodToken != want {
		t.Errorf("%s", goodToken)
	}
}

func TestTokenIsParsed(t *testing.T) {
	id, hash, err := events.ParseToken(goodToken)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(tokenSecret[:])
	if id != accountID || !bytes.Equal(hash, want[:]) || !bytes.Equal(hash, events.HashSecret(tokenSecret)) {
		t.Errorf("%s %x", id, hash)
	}
}

func TestMalformedTokensAreRefused(t *testing.T) {
	last := len(goodToken) - 1
	tests := map[string]string{
		"nothing":                      "",
		"the prefix alone":             "konto_",
		"another prefix":               "kanto_" + goodToken[6:],
		"the prefix in upper case":     "KONTO_" + goodToken[6:],
		"all in upper case":            strings.ToUpper(goodToken),
		"the id in upper case":         goodToken[:6] + strings.ToUpper(goodToken[6:32]) + goodToken[32:],
		"one letter short":             goodToken[:last],
		"one letter long":              goodToken + "a",
		"a space before":               " " + goodToken,
		"a line end inside":            goodToken[:last] + "\n",
		"line ends instead of letters": goodToken[:last-1] + "\r\n",
		"no underscore":                strings.Replace(goodToken, "3_7", "3-7", 1),
		"no letter of an id":           strings.Replace(goodToken, "01hxa", "01hxu", 1),
		"an id beyond 128 bits":        strings.Replace(goodToken, "01hxa", "81hxa", 1),
		"no letter of a secret":        goodToken[:last] + "1",
		"bits beyond the secret":       goodToken[:last] + "b",
		"a secret in upper case":       goodToken[:last] + "A",
		"padding":                      goodToken[:last] + "=",
		"no ASCII":                     goodToken[:last-1] + "å",
	}
	for name, token := range tests {
		t.Run(name, func(t *testing.T) {
			if _, hash, err := events.ParseToken(token); !errors.Is(err, events.ErrMalformedToken) || hash != nil {
				t.Errorf("%q: %x, %v", token, hash, err)
			}
		})
	}
}

// FuzzParseToken holds that a token has one spelling.
func FuzzParseToken(f *testing.F) {
	f.Add(goodToken)
	f.Add(strings.ToUpper(goodToken))
	f.Add(goodToken[:len(goodToken)-2] + "\r\n")
	f.Fuzz(func(t *testing.T, token string) {
		id, hash, err := events.ParseToken(token)
		if err != nil {
			if err != events.ErrMalformedToken || hash != nil {
				t.Fatalf("%x, %v", hash, err)
			}
			return
		}
		if len(hash) != sha256.Size || !strings.HasPrefix(token, "konto_"+strings.ToLower(id.String())+"_") || strings.ToLower(token) != token {
			t.Fatalf("%q was accepted as %s", token, id)
		}
	})
}
