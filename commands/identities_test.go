package commands

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

func user(subject string) events.Identity {
	return events.Identity{Issuer: "https://id.example.com/konto", Subject: subject}
}

func TestIdentityBelongsToOneAccount(t *testing.T) {
	n := newNode(t)
	anna, eva := n.open(t, "anna"), n.open(t, "eva")
	linked := func(i events.Identity, want ulid.ULID) {
		t.Helper()
		got, err := n.Find(t.Context(), events.IdentityClaim(i))
		if got != want || want.IsZero() != errors.Is(err, ErrNotFound) {
			t.Errorf("%v belongs to %v, %v", i, got, err)
		}
	}
	n.do(t, anna, LinkIdentity{user("a")})
	if out := n.do(t, anna, LinkIdentity{user("a")}); out.Changed || out.Account.Version != 2 {
		t.Errorf("linked twice: %+v", out)
	}
	linked(user("a"), anna)
	linked(events.Identity{Issuer: "https://other.example", Subject: "a"}, ulid.ULID{})
	var taken *Taken
	if _, err := n.Do(t.Context(), eva, events.Metadata{}, LinkIdentity{user("a")}); !errors.As(err, &taken) || taken.Field != "/subject" {
		t.Errorf("another account got it: %v", err)
	}
	n.do(t, anna, LinkIdentity{user("b")})
	n.do(t, anna, UnlinkIdentity{user("a")})
	linked(user("a"), ulid.ULID{})
	linked(user("b"), anna)
	n.do(t, eva, LinkIdentity{user("a")})
	linked(user("a"), eva)
	if got := n.types(t, anna); got != "AccountOpened IdentityLinked IdentityLinked IdentityUnlinked" {
		t.Errorf("anna's events are %s", got)
	}
	n.do(t, eva, Erase{})
	linked(user("a"), ulid.ULID{})
	n.do(t, anna, LinkIdentity{user("a")})
	if state, err := n.another().Load(t.Context(), anna); err != nil || !slices.Equal(state.Identities, []events.Identity{user("b"), user("a")}) {
		t.Errorf("%v, %v", state.Identities, err)
	}
}

func TestWrongIdentitiesAreRefused(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, LinkIdentity{user(strings.Repeat("s", MaxSubject))})
	for name, test := range map[string]struct {
		command Command
		field   string
	}{
		"no issuer":                {LinkIdentity{events.Identity{Subject: "a"}}, "/issuer"},
		"an issuer without a host": {LinkIdentity{events.Identity{Issuer: "konto", Subject: "a"}}, "/issuer"},
		"an issuer with a NUL":     {LinkIdentity{events.Identity{Issuer: "https://id.example/\x00", Subject: "a"}}, "/issuer"},
		"an issuer too long":       {LinkIdentity{events.Identity{Issuer: "https://id.example/" + strings.Repeat("a", maxIssuer), Subject: "a"}}, "/issuer"},
		"no subject":               {LinkIdentity{user("")}, "/subject"},
		"a subject too long":       {LinkIdentity{user(strings.Repeat("s", MaxSubject+1))}, "/subject"},
		"a subject with a space":   {LinkIdentity{user("a ")}, "/subject"},
		"a subject with a newline": {LinkIdentity{user("a\nb")}, "/subject"},
		"a subject not in UTF-8":   {LinkIdentity{user("\xff")}, "/subject"},
		"what is not linked":       {UnlinkIdentity{user("a")}, "/subject"},
	} {
		var invalid *Invalid
		if _, err := n.Do(t.Context(), id, events.Metadata{}, test.command); !errors.As(err, &invalid) || invalid.Fields[0].Field != test.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	n.refuses(t, ulid.Make(), LinkIdentity{user("a")})
	n.refuses(t, ulid.Make(), UnlinkIdentity{user("a")})
	if got := n.types(t, id); got != "AccountOpened IdentityLinked" {
		t.Errorf("its events are %s", got)
	}
}

func TestAnAccountHasAtMostTenIdentities(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	for i := range maxIdentities {
		n.do(t, id, LinkIdentity{user(fmt.Sprint(i))})
	}
	if _, err := n.Do(t.Context(), id, events.Metadata{}, LinkIdentity{user("eleventh")}); !errors.Is(err, ErrInvalid) {
		t.Errorf("the eleventh: %v", err)
	}
	if out := n.do(t, id, LinkIdentity{user("3")}); out.Changed {
		t.Error("a linked one is linked again")
	}
	n.do(t, id, UnlinkIdentity{user("3")})
	n.do(t, id, LinkIdentity{user("eleventh")})
}

// A log of other claims' rules gets its claims from the states.
func TestClaimsOfIdentitiesAreMadeAgain(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	n.do(t, id, LinkIdentity{user("a")})
	n.do(t, id, LinkIdentity{user("b")})
	n.do(t, id, UnlinkIdentity{user("b")})
	before, err := n.store.Claims(t.Context(), eventstore.HeldClaim{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.store.RenewClaims(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if after, err := n.store.Claims(t.Context(), eventstore.HeldClaim{}, 10); err != nil || len(after) != 3 || !slices.Equal(after, before) {
		t.Errorf("%d claims before, %d after, %v", len(before), len(after), err)
	}
}

func TestFindByIDTakesEveryFormOfAnID(t *testing.T) {
	n := newNode(t)
	id := n.open(t, "anna")
	state, err := n.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	lower := strings.ToLower(id.String())
	for _, form := range []string{id.String(), lower, ClientPrefix + lower, AccountPrefix + lower, state.PaywayID, strings.ToUpper(state.PaywayID)} {
		if got, err := n.FindByID(t.Context(), form); got != id || err != nil {
			t.Errorf("%s is %s, %v", form, got, err)
		}
	}
	for text, want := range map[string]error{"anna@example.se": ErrNoID, "": ErrNoID, "000000000000000000000000": ErrNotFound} {
		if _, err := n.FindByID(t.Context(), text); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
