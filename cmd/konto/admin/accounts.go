package admin

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
)

// Identity has the ids of an account and the version of its stream.
type Identity struct {
	ID        string `json:"id"`
	ClientID  string `json:"clientId"`
	AccountID string `json:"accountId"`
	PaywayID  string `json:"paywayId"`
	Version   uint64 `json:"version"`
}

// Identify returns the ids of an account.
func Identify(a *events.Account) Identity {
	id := a.ID.String()
	return Identity{
		ID: id, ClientID: commands.ClientPrefix + strings.ToLower(id), AccountID: commands.AccountPrefix + strings.ToLower(id),
		PaywayID: a.PaywayID, Version: a.Version,
	}
}

// Account is an account for the operator: everything but secrets.
type Account struct {
	Identity
	Email         string            `json:"email"`
	Administrator bool              `json:"administrator"`
	Erased        bool              `json:"erased,omitzero"`
	Profile       events.Profile    `json:"profile"`
	Facts         events.Facts      `json:"facts"`
	PendingEmail  string            `json:"pendingEmail,omitzero"`
	HasPassword   bool              `json:"hasPassword"`
	Identities    []events.Identity `json:"identities,omitempty"` // of identity providers
	Opened        time.Time         `json:"opened"`
	Updated       time.Time         `json:"updated"`
	Position      uint64            `json:"position"`
}

func showAccount(a *events.Account) Account {
	return Account{
		Identity: Identify(a), Email: a.Email, Administrator: a.Administrator, Erased: a.Erased,
		Profile: a.Profile, Facts: a.Facts, PendingEmail: a.EmailChange.NewEmail,
		HasPassword: a.PasswordHash != "", Identities: a.Identities, Opened: a.Opened, Updated: a.Updated, Position: a.Position,
	}
}

// Name returns what people call the account: the company's name if it has one.
func (a *Account) Name() string {
	if a.Profile.CompanyName != "" {
		return a.Profile.CompanyName
	}
	return strings.TrimSpace(a.Profile.FirstName + " " + a.Profile.LastName)
}

// OpenAccount opens an account. It makes a Payway id if the command has none.
func (k *Konto) OpenAccount(ctx context.Context, meta events.Metadata, open commands.Open) (events.Account, error) {
	id, err := datafolder.NewID()
	if err != nil {
		return events.Account{}, err
	}
	if open.PaywayID == "" {
		open.PaywayID = commands.NewPaywayID()
	}
	outcome, err := k.Accounts.Do(ctx, id, meta, open)
	if err != nil {
		return events.Account{}, err
	}
	k.Acted(meta, "account open", "account", id.String())
	return *outcome.Account, nil
}

// Account returns an account as it is, or as it was at a moment. Errors: commands.ErrNotFound,
// ErrMissing if it did not exist at that moment.
func (k *Konto) Account(ctx context.Context, id ulid.ULID, at Moment) (Account, error) {
	if at == (Moment{}) {
		a, err := k.Accounts.Load(ctx, id)
		return showAccount(&a), err
	}
	var a events.Account
	for e, err := range k.accountEvents(ctx, id, at) {
		if err != nil {
			return Account{}, err
		}
		if _, err := apply(&a, e); err != nil {
			return Account{}, err
		}
	}
	return showAccount(&a), nil
}

// ListAccounts returns a page of accounts with ids after one, in order of id, erased ones included.
func (k *Konto) ListAccounts(ctx context.Context, after string, limit int) (Page[Account], error) {
	page := Page[Account]{Items: []Account{}}
	last, err := idCursor(after)
	if err == nil {
		err = k.CatchUp(ctx)
	}
	if err != nil {
		return page, err
	}
	rows, err := k.Model.Accounts(ctx, last, limit+1)
	for _, a := range rows {
		if len(page.Items) == limit {
			page.Next = page.Items[limit-1].ID
			break
		}
		page.Items = append(page.Items, showAccount(&a))
	}
	return page, err
}

// SearchAccounts reads all accounts, in order of id, and yields those with a text in their address or
// their names, in any letter case. It calls page before each page that it reads. An error, such as
// page's, is the last thing that it yields.
func (k *Konto) SearchAccounts(ctx context.Context, text string, page func() error) iter.Seq2[Account, error] {
	text = strings.ToLower(strings.TrimSpace(text))
	return func(yield func(Account, error) bool) {
		if text == "" {
			yield(Account{}, invalid("text is empty"))
			return
		}
		err := k.CatchUp(ctx)
		for after := (ulid.ULID{}); err == nil; {
			if err = page(); err != nil {
				break
			}
			var rows []events.Account
			if rows, err = k.Model.Accounts(ctx, after, datafolder.PageSize); err != nil || len(rows) == 0 {
				break
			}
			for _, a := range rows {
				if named(&a, text) && !yield(showAccount(&a), nil) {
					return
				}
				after = a.ID
			}
		}
		if err != nil {
			yield(Account{}, err)
		}
	}
}

// named reports whether an account's address or names contain a text in lower case.
func named(a *events.Account, text string) bool {
	for _, part := range []string{a.Email, a.Profile.FirstName + " " + a.Profile.LastName, a.Profile.CompanyName} {
		if strings.Contains(strings.ToLower(part), text) {
			return true
		}
	}
	return false
}

// RecordFacts records what other systems know of an account.
func (k *Konto) RecordFacts(ctx context.Context, meta events.Metadata, id ulid.ULID, facts events.FactsRecorded) (Identity, error) {
	if facts == (events.FactsRecorded{}) {
		return Identity{}, invalid("give at least one fact")
	}
	outcome, err := k.Accounts.Do(ctx, id, meta, commands.RecordFacts{Facts: facts})
	if err != nil {
		return Identity{}, err
	}
	k.Acted(meta, "account facts", "account", id.String())
	return Identify(outcome.Account), nil
}

// Erased is the proof of an erasure.
type Erased struct {
	ID     string    `json:"id"`
	Erased time.Time `json:"erased"`
	Proof  string    `json:"proof"`
}

// EraseAccount erases an account for good. To call it again completes what was interrupted.
func (k *Konto) EraseAccount(ctx context.Context, meta events.Metadata, id ulid.ULID) (Erased, error) {
	done, err := k.Erasures.Erase(ctx, id, meta)
	if !errors.Is(err, commands.ErrNotFound) { // what began goes on, even if this call failed
		k.Acted(meta, "account erase", "account", id.String())
	}
	if err != nil {
		return Erased{}, err
	}
	return Erased{id.String(), done.Erased, done.Proof}, nil
}

// FindID returns the id of the account that a text means: any of its ids, or its address. Its errors
// do not repeat the text: commands.ErrNotFound, ErrInvalid.
func (k *Konto) FindID(ctx context.Context, ref string) (ulid.ULID, error) {
	id, err := k.LookUp(ctx, ref)
	if errors.Is(err, datafolder.ErrNoReference) {
		err = invalid("this is neither an account's id nor an email address")
	}
	return id, err
}
