package commands

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

// credential folds what the log holds of one.
func (n *node) credential(t testing.TB, id ulid.ULID) (c events.Credential) {
	t.Helper()
	evs, err := n.store.ReadStream(t.Context(), events.CredentialStream(id), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range evs {
		p, err := e.Payload()
		if err != nil {
			t.Fatal(err)
		}
		c.Apply(e, p)
	}
	return c
}

func TestIssuedKeysOpenWithTheirTokens(t *testing.T) {
	n := newNode(t)
	account := n.open(t, "anna")
	credentials := NewCredentials(n.store, nil)
	tests := []struct {
		spec events.KeyIssued
		kind string
	}{
		{events.KeyIssued{Account: account, Scopes: []string{"read:account", "write:account", "read:billing", "read:support"}}, events.KindKey},
		{events.KeyIssued{Client: "Nyheter i Västerås", Scopes: []string{"/external/account/r", "/external/account/w"}}, events.KindClient},
		{events.KeyIssued{Consumer: "crm-sync_2"}, events.KindConsumer},
		{events.KeyIssued{Inbound: "registry-1"}, events.KindInbound},
		{events.KeyIssued{Admin: "Eva", Role: events.RoleViewer, Label: "laptop", ExpiresAt: time.Now().Add(time.Hour)}, events.KindAdmin},
	}
	secrets := map[string]bool{}
	for i, tt := range tests {
		issued, err := credentials.IssueKey(t.Context(), events.Metadata{}, tt.spec)
		if err != nil {
			t.Fatal(err)
		}
		c := n.credential(t, issued.ID)
		id, hash, err := events.ParseToken(issued.Token)
		if err != nil || id != issued.ID || !reflect.DeepEqual(hash, c.SecretHash) {
			t.Errorf("%s: the token does not fit its credential: %v", tt.kind, err)
		}
		if c.Kind != tt.kind || c.Account != tt.spec.Account || !reflect.DeepEqual(c.Scopes, tt.spec.Scopes) || issued.Position != uint64(i)+2 {
			t.Errorf("stored %+v at %d", c, issued.Position)
		}
		secrets[string(hash)] = true
	}
	if len(secrets) != len(tests) {
		t.Error("credentials share a secret")
	}
}

func TestWrongKeysAreRefused(t *testing.T) {
	n := newNode(t)
	account := n.open(t, "anna")
	tests := []struct {
		name  string
		spec  events.KeyIssued
		field string
	}{
		{"nobody's", events.KeyIssued{}, ""},
		{"two owners'", events.KeyIssued{Account: account, Client: "c"}, ""},
		{"a client's and a consumer's", events.KeyIssued{Client: "c", Consumer: "c"}, ""},
		{"a client's scope for an account", events.KeyIssued{Account: account, Scopes: []string{"/external/account/r"}}, "/scopes"},
		{"an account's scope for a client", events.KeyIssued{Client: "c", Scopes: []string{"read:account"}}, "/scopes"},
		{"a consumer with scopes", events.KeyIssued{Consumer: "c", Scopes: []string{"read:account"}}, "/scopes"},
		{"a consumer with a dot", events.KeyIssued{Consumer: "a.b"}, "/consumer"},
		{"a consumer with a capital", events.KeyIssued{Consumer: "Crm"}, "/consumer"},
		{"a consumer that would be konto's own", events.KeyIssued{Consumer: "konto-mailer"}, "/consumer"},
		{"a consumer's and a sender's", events.KeyIssued{Consumer: "c", Inbound: "c"}, ""},
		{"an account's and a sender's", events.KeyIssued{Account: account, Inbound: "c"}, ""},
		{"an account's key that could do nothing", events.KeyIssued{Account: account}, "/scopes"},
		{"a client's key that could do nothing", events.KeyIssued{Client: "c"}, "/scopes"},
		{"a sender with scopes", events.KeyIssued{Inbound: "c", Scopes: []string{"read:account"}}, "/scopes"},
		{"a sender with a dot", events.KeyIssued{Inbound: "a.b"}, "/inbound"},
		{"a sender with a wildcard", events.KeyIssued{Inbound: "*"}, "/inbound"},
		{"a sender that would be konto's own", events.KeyIssued{Inbound: "konto-inbound"}, "/inbound"},
		{"an administrator without a role", events.KeyIssued{Admin: "eva"}, "/role"},
		{"an unknown role", events.KeyIssued{Admin: "eva", Role: "root"}, "/role"},
		{"a client with a role", events.KeyIssued{Client: "c", Role: events.RoleViewer, Scopes: []string{"/external/account/r"}}, "/role"},
		{"an administrator with scopes", events.KeyIssued{Admin: "eva", Role: events.RoleViewer, Scopes: []string{"read:account"}}, "/scopes"},
		{"an administrator's and a client's", events.KeyIssued{Admin: "eva", Role: events.RoleViewer, Client: "c"}, ""},
		{"an expired key", events.KeyIssued{Client: "c", ExpiresAt: time.Now(), Scopes: []string{"/external/account/r"}}, "/expiresAt"},
		{"an unprintable label", events.KeyIssued{Client: "c", Label: "a\x07", Scopes: []string{"/external/account/r"}}, "/label"},
		{"a long consumer", events.KeyIssued{Consumer: strings.Repeat("a", 65)}, "/consumer"},
		{"a long client", events.KeyIssued{Client: strings.Repeat("a", 65), Scopes: []string{"/external/account/r"}}, "/client"},
		{"an unprintable client", events.KeyIssued{Client: "a\x07", Scopes: []string{"/external/account/r"}}, "/client"},
	}
	for _, tt := range tests {
		_, err := NewCredentials(n.store, nil).IssueKey(t.Context(), events.Metadata{}, tt.spec)
		var invalid *Invalid
		if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != tt.field {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
	if head, _ := n.log.Head(t.Context()); head != 1 {
		t.Errorf("something was stored: head is %d", head)
	}
}

func TestSessionDefaults(t *testing.T) {
	n := newNode(t)
	account, parent := n.open(t, "anna"), n.open(t, "parent")
	tests := []struct {
		spec     events.SessionOpened
		authType string
		grant    bool
	}{
		{events.SessionOpened{Account: account}, "session", false},
		{events.SessionOpened{Admin: "root", Roles: []string{"support"}}, "admin", false},
		{events.SessionOpened{Admin: "root", Account: account}, "admin", false},
		{events.SessionOpened{Account: account, AuthType: "billing-sso"}, "billing-sso", false},
		{events.SessionOpened{Account: account, Parent: parent, Label: "Webbyrån"}, "session", true},
	}
	for _, tt := range tests {
		issued, err := NewCredentials(n.store, nil).OpenSession(t.Context(), events.Metadata{}, tt.spec)
		if err != nil {
			t.Fatal(err)
		}
		c := n.credential(t, issued.ID)
		if c.Kind != events.KindSession || c.AuthType != tt.authType || strings.HasPrefix(c.Grant, "grant_") != tt.grant {
			t.Errorf("%+v became %+v", tt.spec, c)
		}
		if !reflect.DeepEqual(c.Scopes, []string{"read:account", "write:account", "read:billing", "read:support"}) {
			t.Errorf("scopes %v", c.Scopes)
		}
	}
}

func TestWrongSessionsAreRefused(t *testing.T) {
	n := newNode(t)
	account := n.open(t, "anna")
	now := time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		spec  events.SessionOpened
		field string
	}{
		{events.SessionOpened{}, "/account"},
		{events.SessionOpened{Account: account, AuthType: "password"}, "/authType"},
		{events.SessionOpened{Account: account, Scopes: []string{"all"}}, "/scopes"},
		{events.SessionOpened{Account: account, Roles: []string{"support"}}, "/roles"},
		{events.SessionOpened{Admin: "root", Roles: []string{"\n"}}, "/roles"},
		{events.SessionOpened{Admin: " root"}, "/admin"},
		{events.SessionOpened{Admin: "root", Parent: account}, "/parent"},
		{events.SessionOpened{Account: account, Label: "x"}, "/label"},
		{events.SessionOpened{Account: account, Parent: account}, "/label"},
		{events.SessionOpened{Account: account, AuthType: "admin"}, "/authType"},
		{events.SessionOpened{Account: account, ExpiresAt: now}, "/expiresAt"},
	}
	for _, tt := range tests {
		_, err := NewCredentials(n.store, func() time.Time { return now }).OpenSession(t.Context(), events.Metadata{}, tt.spec)
		var invalid *Invalid
		if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != tt.field {
			t.Errorf("%+v: got %v", tt.spec, err)
		}
	}
}

func TestCredentialsNeedTheirAccounts(t *testing.T) {
	n := newNode(t)
	account, erased := n.open(t, "anna"), n.open(t, "bo")
	e, err := events.New(events.AccountStream(erased), 2, ulid.Make(), time.Now(), events.Metadata{}, events.AccountErased{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.store.Append(t.Context(), events.AccountStream(erased), 1, nil, []events.Event{e}); err != nil {
		t.Fatal(err)
	}
	credentials := NewCredentials(n.store, nil)
	for _, gone := range []ulid.ULID{erased, ulid.Make()} {
		if _, err := credentials.IssueKey(t.Context(), events.Metadata{}, events.KeyIssued{Account: gone, Scopes: []string{"read:account"}}); !errors.Is(err, ErrNotFound) {
			t.Errorf("key: %v", err)
		}
		if _, err := credentials.OpenSession(t.Context(), events.Metadata{}, events.SessionOpened{Account: gone}); !errors.Is(err, ErrNotFound) {
			t.Errorf("session: %v", err)
		}
		if _, err := credentials.OpenSession(t.Context(), events.Metadata{}, events.SessionOpened{Account: account, Parent: gone, Label: "x"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("delegated session: %v", err)
		}
	}
}

func TestRevokingIsIdempotent(t *testing.T) {
	n := newNode(t)
	credentials := NewCredentials(n.store, nil)
	issued, err := credentials.IssueKey(t.Context(), events.Metadata{}, events.KeyIssued{Client: "c", Scopes: []string{"/external/account/r"}})
	if err != nil {
		t.Fatal(err)
	}
	positions := make([]uint64, 20)
	if err := errors.Join(all(len(positions), func(i int) (err error) {
		positions[i], err = credentials.Revoke(t.Context(), events.Metadata{}, issued.ID)
		return err
	})...); err != nil {
		t.Fatal(err)
	}
	for _, position := range positions {
		if position != 2 {
			t.Errorf("revoked at %d, want 2", position)
		}
	}
	if c := n.credential(t, issued.ID); c.Version != 2 || c.Usable(time.Now()) {
		t.Errorf("still usable: %+v", c)
	}
	if _, err := credentials.Revoke(t.Context(), events.Metadata{}, ulid.Make()); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
}
