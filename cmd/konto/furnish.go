package main

import (
	"context"
	"errors"
	"strings"

	"konto/commands"
	"konto/events"
)

// scene is what the demo's visitor holds in hand.
type scene struct{ hostup, session, payway, generic, consumer string }

// Payway ids of the demo's accounts; the first is that of Payway's own example.
const (
	annaID  = "50f3ac249f6aef294d000007"
	acmeID  = "50f3ac249f6aef294d000008"
	adminID = "50f3ac249f6aef294d000009"
)

// furnish opens the demo's accounts, unless an earlier demo did, and issues
// keys for them.
func (h *house) furnish(ctx context.Context) (*scene, error) {
	anna, err := h.settle(ctx, annaAccount())
	if err != nil {
		return nil, err
	}
	domains, seNu, verified := 2, 1, true
	meta, err := operator()
	if err != nil {
		return nil, err
	}
	if _, err := h.accounts.Do(ctx, anna.ID, meta, commands.RecordFacts{Facts: events.FactsRecorded{
		ActiveDomains: &domains, SeNuDomains: &seNu, Verified: &verified, BankIDName: events.Set("Anna Svensson"),
	}}); err != nil {
		return nil, err
	}
	acme, err := h.settle(ctx, commands.Open{Email: "info@acme.example", PaywayID: acmeID, Profile: events.ProfileUpdated{
		CompanyName: events.Set("Acme"), AccountType: events.Set(events.TypeOrganisation),
	}})
	if err != nil {
		return nil, err
	}
	if _, err := h.settle(ctx, commands.Open{Email: "admin@example.com", PaywayID: adminID, Administrator: true, Profile: events.ProfileUpdated{
		FirstName: events.Set("Eva"), LastName: events.Set("Admin"),
	}}); err != nil {
		return nil, err
	}
	return h.handOut(ctx, anna, acme)
}

func annaAccount() commands.Open {
	return commands.Open{Email: "anna.svensson@example.com", PaywayID: annaID, Profile: events.ProfileUpdated{
		FirstName: events.Set("Anna"), LastName: events.Set("Svensson"),
		Address: events.AddressUpdated{
			Street: events.Set("Examplegatan 1"), City: events.Set("Stockholm"),
			PostalCode: events.Set("12345"), State: events.Set("Stockholm County"),
		},
	}}
}

// settle opens an account, or finds the one that an earlier demo opened and
// the visitor may have changed since.
func (h *house) settle(ctx context.Context, open commands.Open) (events.Account, error) {
	id, err := h.accounts.Find(ctx, events.PaywayIDClaim(open.PaywayID))
	if errors.Is(err, commands.ErrNotFound) {
		return h.open(ctx, open.WithDefaults())
	}
	if err != nil {
		return events.Account{}, err
	}
	return h.accounts.Load(ctx, id)
}

func (h *house) handOut(ctx context.Context, anna, acme events.Account) (*scene, error) {
	var s scene
	own := []string{"read:account", "write:account"}
	for _, k := range []struct {
		token *string
		spec  events.KeyIssued
	}{
		{&s.hostup, events.KeyIssued{Account: anna.ID, Scopes: own}},
		{&s.generic, events.KeyIssued{Account: acme.ID, Scopes: own}},
		{&s.payway, events.KeyIssued{Client: "demo", Scopes: []string{"/external/account/r", "/external/account/w"}}},
		{&s.consumer, events.KeyIssued{Consumer: "demo"}},
	} {
		_, token, err := h.issueKey(ctx, k.spec)
		if err != nil {
			return nil, err
		}
		*k.token = token
	}
	var err error
	_, s.session, err = h.openSession(ctx, events.SessionOpened{
		Account: anna.ID, AuthType: "session", Scopes: append(own, "read:billing", "read:support"),
	})
	return &s, err
}

// withToken puts a token into a NATS URL.
func withToken(url, token string) string { return strings.Replace(url, "://", "://"+token+"@", 1) }
