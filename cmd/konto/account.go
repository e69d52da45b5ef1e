package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/admin"
	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
)

type accountOpen struct {
	Email          string `name:"email" required:"" placeholder:"ADDRESS" help:"Email address; no other account may have it."`
	FirstName      string `name:"first-name" placeholder:"NAME" help:"First name."`
	LastName       string `name:"last-name" placeholder:"NAME" help:"Last name."`
	CompanyName    string `name:"company-name" placeholder:"NAME" help:"Company name."`
	AccountType    string `name:"account-type" enum:"private,organisation" default:"private" help:"private or organisation."`
	CustomerNumber string `name:"customer-number" placeholder:"TEXT" help:"The subscription system's number of the account; unique."`
	Country        string `name:"country" placeholder:"SE" help:"Country, ISO 3166-1 alpha-2; SE unless given."`
	Language       string `name:"language" placeholder:"sv" help:"Language, BCP 47; sv unless given."`
	Currency       string `name:"currency" placeholder:"SEK" help:"Currency, ISO 4217; SEK unless given."`
	Administrator  bool   `name:"administrator" help:"An administrator, whose email address Payway's contract cannot change."`
	PaywayID       string `name:"payway-id" placeholder:"HEX24" help:"Payway's id, 24 hex digits; a random one unless given."`
	PasswordStdin  bool   `name:"password-stdin" help:"Read the password, one line, from standard input."`
	PasswordHash   string `kong:"-"`
}

func (c *accountOpen) Help() string {
	return `Examples:

    konto account open --email anna@example.com --first-name Anna --last-name Svensson
    konto account open --email info@acme.example --account-type organisation --company-name Acme --json`
}

// readInput hashes the password in the process that read it, so that no other process gets it.
func (c *accountOpen) readInput(stdin io.Reader) error {
	if !c.PasswordStdin {
		return nil
	}
	password, err := readLine(stdin, "password")
	if err != nil {
		return err
	}
	c.PasswordHash, err = commands.HashPassword(context.Background(), password)
	return err
}

// readLine reads one line that must not be an argument because it is a secret.
func readLine(stdin io.Reader, what string) (string, error) {
	line, err := bufio.NewReader(stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("there is no %s on standard input", what)
	}
	return line, nil
}

func (c *accountOpen) Run(ctx context.Context, on *opened, out *control.Output) error {
	open := admin.NewAccount{
		Email: c.Email, FirstName: c.FirstName, LastName: c.LastName, CompanyName: c.CompanyName, AccountType: c.AccountType,
		CustomerNumber: c.CustomerNumber, Country: c.Country, Language: c.Language, Currency: c.Currency,
		Administrator: c.Administrator, PaywayID: c.PaywayID,
	}.Command()
	open.PasswordHash = c.PasswordHash
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	account, err := on.OpenAccount(ctx, meta, open)
	if err != nil {
		return err
	}
	return out.Object(admin.Identify(&account))
}

type accountFacts struct {
	Ref           string  `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	ActiveDomains *int    `name:"active-domains" placeholder:"N" help:"How many active domains the account has."`
	SeNuDomains   *int    `name:"se-nu-domains" placeholder:"N" help:"How many of them are under .se and .nu."`
	PendingOrder  *string `name:"pending-order" placeholder:"ID" help:"The order that is pending; none ends it."`
	Verified      *bool   `name:"verified" help:"Whether the identity was verified."`
	BankIDName    *string `name:"bankid-name" placeholder:"NAME" help:"The name that BankID gave; none clears it."`
}

func (c *accountFacts) Help() string {
	return `Examples:

    konto account facts anna@example.com --active-domains 2 --se-nu-domains 1
    konto account facts anna@example.com --verified=true --bankid-name "Anna Svensson"
    konto account facts anna@example.com --pending-order none`
}

// Validate is called by kong.
func (c *accountFacts) Validate() error {
	if c.ActiveDomains == nil && c.SeNuDomains == nil && c.PendingOrder == nil && c.Verified == nil && c.BankIDName == nil {
		return errors.New("give at least one fact")
	}
	for _, n := range []*int{c.ActiveDomains, c.SeNuDomains} {
		if n != nil && *n < 0 {
			return errors.New("a number of domains cannot be below 0")
		}
	}
	return nil
}

func (c *accountFacts) Run(ctx context.Context, on *opened, out *control.Output) error {
	return actOn(ctx, on, out, c.Ref, func(meta events.Metadata, id ulid.ULID) (any, error) {
		return on.RecordFacts(ctx, meta, id, events.FactsRecorded{
			ActiveDomains: c.ActiveDomains, SeNuDomains: c.SeNuDomains, Verified: c.Verified,
			PendingOrder: fact(c.PendingOrder), BankIDName: fact(c.BankIDName),
		})
	})
}

// actOn prints what the operator's act on an account comes to.
func actOn(ctx context.Context, on *opened, out *control.Output, ref string, act func(events.Metadata, ulid.ULID) (any, error)) error {
	id, err := on.FindAccount(ctx, ref)
	if err != nil {
		return err
	}
	meta, err := datafolder.Operator()
	if err != nil {
		return err
	}
	result, err := act(meta, id)
	if err != nil {
		return on.NotFound(err, ref)
	}
	return out.Object(result)
}

// fact returns the change to a flag's value. The value none clears the fact.
func fact(flag *string) events.Change[string] {
	switch {
	case flag == nil:
		return events.Change[string]{}
	case *flag == "none":
		return events.Clear[string]()
	}
	return events.Set(*flag)
}

type accountList struct{ idPages }

func (c *accountList) Help() string {
	return `Examples:

    konto account list
    konto account list --limit 100 --after 01HXA3B4C5D6E7F8G9H0J1K2M3
    konto account list --json | jq -r .email`
}

func (c *accountList) Run(ctx context.Context, on *opened, out *control.Output) error {
	const row = "%-26s  %-24s  %-32s  %s"
	out.Header(row, "ID", "PAYWAY ID", "EMAIL", "NAME")
	return printPages(c.After, c.Limit, func(after string, limit int) (admin.Page[admin.Account], error) {
		return on.ListAccounts(ctx, after, limit)
	}, func(a admin.Account) error {
		if a.Erased {
			return out.Row(a, row, a.ID, "-", "(erased)", "")
		}
		return out.Row(a, row, a.ID, a.PaywayID, a.Email, a.Name())
	})
}

type accountErase struct {
	Ref string `arg:"" name:"ref" help:"The account: any of its ids, or its email address."`
	Yes bool   `name:"yes" help:"Required: an erasure cannot be undone."`
}

func (c *accountErase) Help() string {
	return `Erases an account for good: destroys the key that its data is encrypted with, revokes its API keys
and sessions, and frees its email address. After that no copy of the log can be read for this
account. Third parties and NATS consumers receive AccountErased. Prints a signed proof, without
personal data, that the keys at /.well-known/jwks.json verify.

To erase an account again, by its id, completes what was interrupted and prints the proof.

Examples:

    konto account erase anna@example.com --yes
    konto account erase acct_01hxa3b4c5d6e7f8g9h0j1k2m3 --yes --json`
}

// Validate is called by kong.
func (c *accountErase) Validate() error {
	if !c.Yes {
		return errors.New("an erasure cannot be undone; add --yes")
	}
	return nil
}

func (c *accountErase) Run(ctx context.Context, on *opened, out *control.Output) error {
	return actOn(ctx, on, out, c.Ref, func(meta events.Metadata, id ulid.ULID) (any, error) {
		return on.EraseAccount(ctx, meta, id)
	})
}
