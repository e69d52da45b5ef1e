package verify

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/sqlite"
	"konto/eventstore/sqlitefile"
	"konto/projections"
)

// fixture is a log in files, with all that follows from it.
type fixture struct {
	dir   string
	keys  *keyring.Keyring
	log   eventstore.AdminLog
	store *eventstore.Store
	model *projections.ReadModel // nil when its file does not fit the log
	close func() error
}

// openFixture opens what is in a folder, as an examiner does.
func openFixture(ctx context.Context, dir string) (_ *fixture, err error) {
	h := &fixture{dir: dir}
	var opened []func() error
	h.close = func() error {
		var failed error
		for i := range opened {
			if err := opened[len(opened)-1-i](); err != nil {
				failed = err
			}
		}
		return failed
	}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	master := sha256.Sum256([]byte("master"))
	if h.keys, err = keyring.Open(ctx, h.file("keys.db"), master[:]); err != nil {
		return nil, err
	}
	opened = append(opened, h.keys.Close)
	if h.log, err = sqlite.Open(ctx, h.file("log.db")); err != nil {
		return nil, err
	}
	opened = append(opened, h.log.Close)
	head, err := h.log.Head(ctx)
	if err != nil {
		return nil, err
	}
	id, err := h.log.ID(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.keys.Bind(ctx, id, head == 0); err != nil {
		return nil, err
	}
	h.store = eventstore.NewStore(h.log, h.keys)
	path := h.file("read.db")
	if _, err := os.Stat(path); err == nil && projections.ReadModelFits(ctx, path, h.log, h.keys) != nil {
		return h, nil
	}
	if h.model, err = projections.OpenReadModel(ctx, path, h.log, h.keys); err != nil {
		return nil, err
	}
	opened = append(opened, h.model.Close)
	return h, nil
}

func (h *fixture) file(name string) string { return filepath.Join(h.dir, name) }

func (h *fixture) config() Config {
	model := func(ctx context.Context) error {
		return projections.CheckReadModel(ctx, h.file("read.db"), h.log, h.keys)
	}
	if h.model != nil {
		model = h.model.Check
	}
	return Config{Log: h.log, Store: h.store, Model: h.model, Page: 7, Files: []File{
		{"log.db", h.log.CheckStorage}, {"keys.db", h.keys.Check}, {"read.db", model},
	}}
}

// catchUp applies to the read model what it lacks, up to a position.
func (h *fixture) catchUp(ctx context.Context, upTo uint64) error {
	position, err := h.model.Position(ctx)
	if err != nil || upTo <= position {
		return err
	}
	evs, err := h.store.ReadAll(ctx, position, int(upTo-position))
	if err != nil {
		return err
	}
	return h.model.Apply(ctx, evs)
}

func (h *fixture) follow(ctx context.Context) error {
	head, err := h.store.Head(ctx)
	if err != nil {
		return err
	}
	return h.catchUp(ctx, head)
}

// begin opens a new folder, which the test's end closes.
func begin(t testing.TB) *fixture { return enter(t, t.TempDir()) }

func enter(t testing.TB, dir string) *fixture {
	t.Helper()
	h, err := openFixture(t.Context(), dir)
	must(t, err)
	t.Cleanup(func() { h.close() })
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// author appends to one stream, with the claims that its events bring about.
type author struct {
	t       testing.TB
	h       *fixture
	stream  events.Stream
	version uint64
	account events.Account
	party   events.ThirdParty
	revoked bool
	owned   []*author // credentials that end with the account
}

func (h *fixture) author(t testing.TB, stream events.Stream) *author {
	return &author{t: t, h: h, stream: stream}
}

func (a *author) claims() []events.Claim {
	switch {
	case a.stream.Category() == events.CategoryAccount:
		return a.account.Claims()
	case a.party.Exists():
		return a.party.Claims()
	}
	return nil
}

// write appends one event, and leaves a receipt if it is given a name.
func (a *author) write(p events.Payload, receipts ...string) *author {
	a.t.Helper()
	e, err := events.New(a.stream, a.version+1, ulid.Make(), time.Now(),
		events.Metadata{Actor: events.Actor{Kind: "operator"}, Contract: "cli"}, p)
	must(a.t, err)
	var changes []eventstore.ClaimChange
	for _, c := range a.claims() {
		changes = append(changes, eventstore.ClaimChange{Claim: c, Release: true})
	}
	a.account.Apply(e, p)
	a.party.Apply(e, p)
	for _, c := range a.claims() {
		changes = append(changes, eventstore.ClaimChange{Claim: c})
	}
	var left []eventstore.NamedReceipt
	for _, name := range receipts {
		left = append(left, eventstore.NamedReceipt{Name: name, Data: []byte("answer to " + name), Expires: e.Time.Add(time.Hour)})
	}
	_, err = a.h.store.Append(a.t.Context(), a.stream, a.version, changes, []events.Event{e}, left...)
	must(a.t, err)
	a.version++
	_, ended := p.(events.CredentialRevoked)
	a.revoked = a.revoked || ended
	return a
}

func (h *fixture) credential(t testing.TB) *author {
	return h.author(t, events.CredentialStream(ulid.Make()))
}

func (a *author) id() ulid.ULID {
	_, id, err := a.stream.Split()
	must(a.t, err)
	return id
}

// opened begins an account.
func (h *fixture) opened(t testing.TB, n int) *author {
	a := h.author(t, events.AccountStream(ulid.Make()))
	return a.write(events.AccountOpened{
		Email: fmt.Sprintf("owner%d@example.com", n), PaywayID: fmt.Sprintf("50f3ac249f6aef294d%06x", n),
		Profile: events.ProfileUpdated{
			FirstName: events.Set("Anna"), SocialSecurityNumber: events.Set(fmt.Sprintf("850507%04d", n)),
			CustomerNumber: events.Set(fmt.Sprint("C", n)),
		},
	}, fmt.Sprint("opening ", n))
}

// live writes a life of an account with every type of event but the last.
func (h *fixture) live(t testing.TB, n int) *author {
	a := h.opened(t, n)
	session := func(account, parent ulid.ULID) *author {
		s := h.credential(t).write(events.SessionOpened{
			Account: account, Parent: parent, AuthType: "session", SecretHash: []byte("hash"), Scopes: []string{"read:account"},
		})
		a.owned = append(a.owned, s)
		return s
	}
	closed, kept := session(a.id(), ulid.ULID{}), session(a.id(), ulid.ULID{})
	session(ulid.Make(), a.id())
	active, verified := 3, true
	a.write(events.ProfileUpdated{LastName: events.Set("Svensson")}, fmt.Sprint("update ", n)).
		write(events.EmailChanged{PreviousEmail: a.account.Email, NewEmail: fmt.Sprintf("New%d@example.com", n), How: events.EmailDirect}).
		write(events.EmailChangeRequested{NewEmail: "next@example.com", Request: ulid.Make(), CodeHash: []byte("code"), ExpiresAt: time.Now().UTC()}).
		write(events.EmailChangeAttemptFailed{Request: ulid.Make()}).
		write(events.EmailChangeCancelled{NewEmail: "next@example.com"}).
		write(events.PasswordChanged{Hash: "hash", Session: kept.id()}).
		write(events.FactsRecorded{ActiveDomains: &active, Verified: &verified})
	session(ulid.Make(), a.id())
	closed.write(events.CredentialRevoked{})
	key := h.credential(t).write(events.KeyIssued{Account: a.id(), Scopes: []string{"read:account"}, SecretHash: []byte("hash")}, fmt.Sprint("key ", n))
	a.owned = append(a.owned, key)
	return a
}

// populate fills a folder with every type of event, erased accounts included.
func (h *fixture) populate(t testing.TB, accounts int) []*author {
	t.Helper()
	var all []*author
	for n := range accounts {
		all = append(all, h.live(t, n))
	}
	h.credential(t).write(events.KeyIssued{Client: "crm", SecretHash: []byte("hash")}).write(events.CredentialRevoked{})
	h.credential(t).write(events.KeyIssued{Consumer: "billing", SecretHash: []byte("hash")})
	h.credential(t).write(events.KeyIssued{Inbound: "registry", SecretHash: []byte("hash")})
	for _, name := range []string{"crm", "paper"} {
		p := h.author(t, events.ThirdPartyStream(ulid.Make()))
		secret := events.WebhookSecrets{HMAC: []byte("secret"), Ed25519Seed: make([]byte, 32)}
		p.write(events.ThirdPartyAdded{Name: name, URL: "https://example.com/", Format: events.FormatRISC, Events: []string{"EmailChanged"}, Secret: secret}).
			write(events.ThirdPartySecretRotated{Secret: secret, PreviousUntil: time.Now().UTC().Add(time.Hour)}).
			write(events.ThirdPartyPaused{}).write(events.ThirdPartyResumed{}).
			write(events.ThirdPartyDisabled{Reason: events.DisabledGone}).
			write(events.ThirdPartyCheckpointed{Position: 1})
		if name == "paper" {
			p.write(events.ThirdPartyRemoved{})
		}
	}
	for range 2 {
		h.erase(t, h.live(t, len(all)))
		all = append(all, nil)
	}
	must(t, h.follow(t.Context()))
	return all
}

// erase ends an account as the service does: events, read model, keys.
func (h *fixture) erase(t testing.TB, a *author) {
	streams := []events.Stream{a.stream}
	a.write(events.AccountErased{})
	for _, c := range a.owned {
		streams = append(streams, c.stream)
		if !c.revoked {
			c.write(events.CredentialRevoked{})
		}
	}
	must(t, h.follow(t.Context()))
	must(t, h.keys.Destroy(t.Context(), streams...))
}

// raw changes a file behind everybody's back, past the triggers.
func (h *fixture) raw(t testing.TB, file string, statements ...string) {
	t.Helper()
	db, err := sqlitefile.OpenWriter(h.file(file))
	must(t, err)
	defer db.Close()
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		must(t, err)
	}
}
