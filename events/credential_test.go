package events_test

import (
	"reflect"
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

func TestUsable(t *testing.T) {
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
