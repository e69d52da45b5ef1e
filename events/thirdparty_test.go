package events_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"konto/events"
)

var (
	firstSecrets  = events.WebhookSecrets{HMAC: []byte{1}, Ed25519Seed: []byte{11}}
	secondSecrets = events.WebhookSecrets{HMAC: []byte{2}, Ed25519Seed: []byte{12}}
	thirdSecrets  = events.WebhookSecrets{HMAC: []byte{3}, Ed25519Seed: []byte{13}}

	added = events.ThirdPartyAdded{
		Name: "crm", URL: "https://crm.example.com/", Format: events.FormatCloudEvents,
		Events: []string{"EmailChanged"}, Secret: firstSecrets,
	}
)

// party adds payloads to a new third party, an hour and ten positions apart.
func party(payloads ...events.Payload) *events.ThirdParty {
	var p events.ThirdParty
	for i, payload := range payloads {
		p.Apply(events.Event{
			Stream: events.ThirdPartyStream(accountID), Version: uint64(i + 1), Position: uint64(10 * (i + 1)),
			Time: opened.Add(time.Duration(i) * time.Hour),
		}, payload)
	}
	return &p
}

func TestThirdPartyFold(t *testing.T) {
	paused, resumed, gone := events.ThirdPartyPaused{}, events.ThirdPartyResumed{}, events.ThirdPartyDisabled{Reason: events.DisabledGone}
	tests := map[string]struct {
		later []events.Payload
		want  events.ThirdParty // what differs from one that was just added
	}{
		"added":               {nil, events.ThirdParty{State: events.ThirdPartyActive}},
		"paused":              {[]events.Payload{paused}, events.ThirdParty{State: events.ThirdPartyHeld}},
		"resumed":             {[]events.Payload{paused, resumed}, events.ThirdParty{State: events.ThirdPartyActive}},
		"disabled":            {[]events.Payload{gone}, events.ThirdParty{State: events.ThirdPartyFailed, Reason: events.DisabledGone}},
		"disabled and paused": {[]events.Payload{gone, paused}, events.ThirdParty{State: events.ThirdPartyHeld}},
		"disabled, resumed":   {[]events.Payload{gone, resumed}, events.ThirdParty{State: events.ThirdPartyActive}},
		"paused and disabled": {[]events.Payload{paused, gone}, events.ThirdParty{State: events.ThirdPartyFailed, Reason: events.DisabledGone}},
		"removed":             {[]events.Payload{gone, events.ThirdPartyRemoved{}}, events.ThirdParty{State: events.ThirdPartyGone}},
		"told up to 15": {[]events.Payload{paused, events.ThirdPartyCheckpointed{Position: 15}},
			events.ThirdParty{State: events.ThirdPartyHeld, Checkpoint: 15}},
		"with other secrets": {[]events.Payload{events.ThirdPartySecretRotated{Secret: secondSecrets, PreviousUntil: opened.Add(5 * time.Hour)}},
			events.ThirdParty{State: events.ThirdPartyActive, Secret: secondSecrets,
				Previous: []events.RetiredSecrets{{WebhookSecrets: firstSecrets, Until: opened.Add(5 * time.Hour)}}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, want := party(append([]events.Payload{added}, test.later...)...), test.want
			want.ID, want.Name, want.URL, want.Format, want.Events = accountID, added.Name, added.URL, added.Format, added.Events
			want.Added, want.Begin = opened, 10
			want.Version, want.Position = uint64(1+len(test.later)), uint64(10*(1+len(test.later)))
			if want.Checkpoint == 0 {
				want.Checkpoint = 10
			}
			if want.Secret.HMAC == nil {
				want.Secret = firstSecrets
			}
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
			if exists := test.want.State != events.ThirdPartyGone; got.Exists() != exists {
				t.Errorf("exists: %v", got.Exists())
			}
			got.Apply(events.Event{Version: 99, Position: 990}, events.EmailChanged{})
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("an account's event changed it to %+v", *got)
			}
		})
	}
	if new(events.ThirdParty).Exists() {
		t.Error("one that was never added exists")
	}
}

func TestThirdPartyWantsItsEventsAndErasures(t *testing.T) {
	p := party(events.ThirdPartyAdded{Events: []string{"EmailChanged", "FactsRecorded"}})
	for name, want := range map[string]bool{
		events.TypeEmailChanged:         true,
		"EmailChanged.v2":               true, // a newer version is the same fact
		events.TypeFactsRecorded:        true,
		events.TypeAccountErased:        true,
		events.TypeEmailChangeRequested: false, // "EmailChange" begins like it
		events.TypeAccountOpened:        false,
		events.TypeThirdPartyAdded:      false,
		events.TypeCredentialRevoked:    false,
	} {
		if got := p.Wants(name); got != want {
			t.Errorf("wants %s: %v", name, got)
		}
	}
}

func TestSecretsSignUntilTheirEnd(t *testing.T) {
	rotated := func(secret events.WebhookSecrets, until time.Duration) events.Payload {
		return events.ThirdPartySecretRotated{Secret: secret, PreviousUntil: opened.Add(until)}
	}
	const h = time.Hour
	tests := map[string]struct {
		rotations []events.Payload // after 1 h, 2 h
		at        time.Duration
		want      string // the secrets' numbers
	}{
		"never rotated":                           {nil, 0, "1"},
		"within the overlap":                      {[]events.Payload{rotated(secondSecrets, 5*h)}, 5*h - 1, "21"},
		"at its end":                              {[]events.Payload{rotated(secondSecrets, 5*h)}, 5 * h, "2"},
		"without overlap":                         {[]events.Payload{rotated(secondSecrets, 1*h)}, 1 * h, "2"},
		"rotated twice":                           {[]events.Payload{rotated(secondSecrets, 5*h), rotated(thirdSecrets, 6*h)}, 5*h - 1, "321"},
		"rotated twice, the oldest has ended":     {[]events.Payload{rotated(secondSecrets, 5*h), rotated(thirdSecrets, 6*h)}, 5 * h, "32"},
		"a second rotation shortens the first":    {[]events.Payload{rotated(secondSecrets, 5*h), rotated(thirdSecrets, 3*h)}, 3 * h, "3"},
		"a second rotation without overlap":       {[]events.Payload{rotated(secondSecrets, 5*h), rotated(thirdSecrets, 2*h)}, 2 * h, "3"},
		"rotated again once the overlap is over":  {[]events.Payload{rotated(secondSecrets, 1*h+1), rotated(thirdSecrets, 6*h)}, 2 * h, "32"},
		"rotated again, and both overlaps are up": {[]events.Payload{rotated(secondSecrets, 5*h), rotated(thirdSecrets, 6*h)}, 6 * h, "3"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := party(append([]events.Payload{added}, test.rotations...)...)
			var got string
			for _, s := range p.Secrets(opened.Add(test.at)) {
				got += fmt.Sprint(s.HMAC[0])
			}
			if got != test.want {
				t.Errorf("signed with %s, want %s", got, test.want)
			}
		})
	}
}

// Copies of a third party are folded on by others.
func TestThirdPartyFoldDoesNotChangeCopies(t *testing.T) {
	p := party(added, events.ThirdPartySecretRotated{Secret: secondSecrets, PreviousUntil: opened.Add(9 * time.Hour)})
	before := *p
	for range 3 {
		p.Apply(events.Event{Version: p.Version + 1, Time: opened.Add(2 * time.Hour)},
			events.ThirdPartySecretRotated{Secret: thirdSecrets, PreviousUntil: opened.Add(3 * time.Hour)})
	}
	if got := before.Secrets(opened.Add(8 * time.Hour)); len(got) != 2 || got[1].HMAC[0] != 1 {
		t.Errorf("a copy signs with %v", got)
	}
}

// The public key was made from the seed with OpenSSL.
func TestTextFormsOfWebhookSecrets(t *testing.T) {
	s := events.WebhookSecrets{HMAC: []byte("a secret of 24 bytes, ok"), Ed25519Seed: []byte("TESTSIGNINGKEYDONOTUSETHISFORANY")}
	for name, pair := range map[string][2]string{
		"secret":      {s.Secret(), "whsec_YSBzZWNyZXQgb2YgMjQgYnl0ZXMsIG9r"},
		"private key": {s.PrivateKey(), "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="},
		"public key":  {s.PublicKey(), "whpk_ZlN4eg7dSSqi0moX9hQUk3orrOouK3QVQSlJa248c/g="},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %s, want %s", name, pair[0], pair[1])
		}
	}
}

// Each secret has its own key, made once for all copies of a third party that keep
// keys. What was rotated in since is no less signed with.
func TestSigningKeysAreCached(t *testing.T) {
	secrets := func(n byte) events.WebhookSecrets {
		return events.WebhookSecrets{Ed25519Seed: bytes.Repeat([]byte{n}, 32)}
	}
	first, second, third := secrets(1), secrets(2), secrets(3)
	until := opened.Add(24 * time.Hour)
	p := party(events.ThirdPartyAdded{Secret: first}, events.ThirdPartySecretRotated{Secret: second, PreviousUntil: until})
	p.KeepSigningKeys()
	later := *p
	later.Apply(events.Event{Version: 3, Time: opened}, events.ThirdPartySecretRotated{Secret: third, PreviousUntil: until})
	for name, s := range map[string]events.WebhookSecrets{"first": first, "second": second, "third": third} {
		key, again := p.SigningKey(s), later.SigningKey(s)
		if !key.Equal(s.SigningKey()) || !again.Equal(key) {
			t.Errorf("another's key is the %s secret's", name)
		}
		if kept := &key[0] == &again[0]; kept != (name != "third") {
			t.Errorf("the key of the %s secret is kept: %v", name, kept)
		}
	}
}
