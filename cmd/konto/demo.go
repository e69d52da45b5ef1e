package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/server"
	"konto/commands"
	"konto/events"
)

type demoCommand struct {
	HTTP       string `name:"http" placeholder:"ADDRESS" help:"Where to answer HTTP; 127.0.0.1:8080, or a free port if it is taken, unless given."`
	NATSListen string `name:"nats-listen" placeholder:"ADDRESS" help:"Where NATS consumers connect; 127.0.0.1:4222, or a free port if it is taken, unless given."`

	server.LogOptions `set:"log_level=warn"` // the first screen shows only the curl lines
}

func (c *demoCommand) Help() string {
	return `Everything is in one process and in a temporary folder, which is deleted at the end. With --data the
folder stays.

Examples:

    konto demo
    konto demo --http 127.0.0.1:9000 --data demo-data`
}

func (c *demoCommand) run(ctx context.Context, l *line, stdout, stderr io.Writer) (err error) {
	loggers := c.Loggers(stderr)
	log := loggers.Log
	folder := l.data
	if folder == "" {
		if folder, err = os.MkdirTemp("", "konto-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	}
	options := server.Options{
		HTTP:       orFree(c.HTTP, "127.0.0.1:8080"),
		NATSListen: orFree(c.NATSListen, "127.0.0.1:4222"),
		Access:     loggers.Access,
		Audit:      log,
		// So that an endpoint on this machine can be tried.
		SenderOptions: server.SenderOptions{ThirdPartyAllow: loopback},
	}
	cfg := datafolder.Config{Path: folder, Holder: "konto demo", Begin: true, Log: log}
	return serveFolder(ctx, cfg, options, func(ctx context.Context, on *opened, s *server.Server) error {
		demo, err := openDemo(ctx, on)
		if err != nil {
			return err
		}
		_, err = io.WriteString(control.Printing{To: stdout}, demo.firstScreen(s.URL(), s.NATSURL(), folder))
		return err
	})
}

// loopback is where a user of the demo runs an endpoint.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// orFree returns the address that was given. If none was, it returns the usual address, or any
// free one if the usual one is taken.
func orFree(given, usual string) string {
	if given != "" {
		return given
	}
	probe, err := net.Listen("tcp", usual)
	if err != nil {
		return "127.0.0.1:0"
	}
	probe.Close()
	return usual
}

// firstScreen returns what the user can try. Each curl command is one line, so that it can be
// copied.
func (s *demoSecrets) firstScreen(http, nats, folder string) string {
	curl := func(method, path, secret, body string) string {
		line := fmt.Sprintf("curl -sS -w '\\n' -X %s %s%s %s", method, http, path, secret)
		if body != "" {
			line += fmt.Sprintf(" -H 'Content-Type: application/json' -d '%s'", body)
		}
		return line + "\n"
	}
	bearer := func(token string) string { return "-H 'Authorization: Bearer " + token + "'" }
	const v1, v0, me, account = "/external/api/v1/accounts", "/external/api/v0/accounts", "/api/v2/me", "/v1/account"
	return "konto demo is ready: " + http + ", " + nats + ". Ctrl-C ends it.\n" +
		"\n# HostUp: Anna completes her profile, with an API key; then a look with her session\n" +
		curl("PATCH", me, bearer(s.hostup), `{"phoneNumber":"+46700000000","registrationIdentifier":{"value":"850507-3412","countryCode":"SE"}}`) +
		curl("GET", me, "-b 'hostup_session="+s.session+"'", "") +
		"\n# Payway: a client changes Anna's email and name; third parties receive it, Anna is not notified\n" +
		curl("PUT", v1, bearer(s.payway), `{"id":"`+annaID+`","email":"adeprimo.servicedesk@no-reply.com","first_name":"Adeprimo","last_name":"Servicedesk"}`) +
		curl("PUT", v0, bearer(s.payway), `{"id":"`+annaID+`","mobile_phone_number":"0734567890"}`) +
		"\n# Generic: Acme changes its name, email and settings\n" +
		curl("PATCH", account, bearer(s.generic), `{"name":"Acme Corp.","email":"new_email@example.com","settings":{"currency":"EUR","timezone":"Europe/Berlin","language":"de"}}`) +
		curl("GET", account, bearer(s.generic), "") +
		"\n# See the events: from the log, or as a NATS consumer\n" +
		"go run ./cmd/konto events tail --after 0 --data '" + folder + "'\n" +
		"nats --server '" + withToken(nats, s.consumer) + "' subscribe 'konto.account.>'\n"
}

// demoSecrets are the secrets that the demo prints.
type demoSecrets struct{ hostup, session, payway, generic, consumer string }

// Payway ids of the demo's accounts; the first is that of Payway's own example.
const (
	annaID  = "50f3ac249f6aef294d000007"
	acmeID  = "50f3ac249f6aef294d000008"
	adminID = "50f3ac249f6aef294d000009"
)

// openDemo opens the demo's accounts, unless an earlier demo opened them, and issues keys for
// them.
func openDemo(ctx context.Context, on *opened) (*demoSecrets, error) {
	anna, err := openOrLoad(ctx, on, annaAccount())
	if err != nil {
		return nil, err
	}
	domains, seNu, verified := 2, 1, true
	meta, err := datafolder.Operator()
	if err != nil {
		return nil, err
	}
	if _, err := on.Accounts.Do(ctx, anna.ID, meta, commands.RecordFacts{Facts: events.FactsRecorded{
		ActiveDomains: &domains, SeNuDomains: &seNu, Verified: &verified, BankIDName: events.Set("Anna Svensson"),
	}}); err != nil {
		return nil, err
	}
	acme, err := openOrLoad(ctx, on, commands.Open{Email: "info@acme.example", PaywayID: acmeID, Profile: events.ProfileUpdated{
		CompanyName: events.Set("Acme"), AccountType: events.Set(events.TypeOrganisation),
	}})
	if err != nil {
		return nil, err
	}
	if _, err := openOrLoad(ctx, on, commands.Open{Email: "admin@example.com", PaywayID: adminID, Administrator: true, Profile: events.ProfileUpdated{
		FirstName: events.Set("Eva"), LastName: events.Set("Admin"),
	}}); err != nil {
		return nil, err
	}
	return issueKeys(ctx, on, anna, acme)
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

// openOrLoad opens an account, or loads the one that an earlier demo opened and the user may
// have changed since.
func openOrLoad(ctx context.Context, on *opened, open commands.Open) (events.Account, error) {
	id, err := on.Accounts.Find(ctx, events.PaywayIDClaim(open.PaywayID))
	if errors.Is(err, commands.ErrNotFound) {
		meta, err := datafolder.Operator()
		if err != nil {
			return events.Account{}, err
		}
		return on.OpenAccount(ctx, meta, open.WithDefaults())
	}
	if err != nil {
		return events.Account{}, err
	}
	return on.Accounts.Load(ctx, id)
}

func issueKeys(ctx context.Context, on *opened, anna, acme events.Account) (*demoSecrets, error) {
	var s demoSecrets
	meta, err := datafolder.Operator()
	if err != nil {
		return nil, err
	}
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
		issued, err := on.IssueKey(ctx, meta, k.spec)
		if err != nil {
			return nil, err
		}
		*k.token = issued.Token
	}
	session, err := on.OpenSession(ctx, meta, events.SessionOpened{
		Account: anna.ID, AuthType: "session", Scopes: append(own, "read:billing", "read:support"),
	})
	s.session = session.Cookie
	return &s, err
}

// withToken puts a token into a NATS URL.
func withToken(url, token string) string { return strings.Replace(url, "://", "://"+token+"@", 1) }
