package admin

import (
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"konto/commands"
	"konto/events"
	kontohttp "konto/http"
)

func (k *Konto) accountRoutes() []kontohttp.Route {
	return []kontohttp.Route{
		get("/accounts", func(r *request) (Page[Account], error) {
			given, limit, err := paging(r)
			if err != nil {
				return Page[Account]{}, err
			}
			return k.ListAccounts(r.Context(), given["after"], limit)
		}),
		create("/accounts", k.openAccount),
		ask("/accounts/find", k.findAccount),
		{Method: http.MethodPost, Path: "/accounts/search", Role: events.RoleViewer, Stream: true, Answer: k.searchAccounts},
		get("/accounts/{account}", k.getAccount),
		get("/accounts/{account}/history", k.getHistory),
		act("/accounts/{account}/facts", k.recordFacts),
		act("/accounts/{account}/link", k.identities(k.LinkIdentity)),
		act("/accounts/{account}/unlink", k.identities(k.UnlinkIdentity)),
		act("/accounts/{account}/erase", k.eraseAccount),
	}
}

// NewAccount is what an account is opened with. What is left out has a default, or is not set.
type NewAccount struct {
	Email          string `json:"email"`
	FirstName      string `json:"firstName,omitzero"`
	LastName       string `json:"lastName,omitzero"`
	CompanyName    string `json:"companyName,omitzero"`
	AccountType    string `json:"accountType,omitzero"`
	CustomerNumber string `json:"customerNumber,omitzero"`
	Country        string `json:"countryCode,omitzero"`
	Language       string `json:"languageCode,omitzero"`
	Currency       string `json:"currencyCode,omitzero"`
	Administrator  bool   `json:"administrator,omitzero"`
	PaywayID       string `json:"paywayId,omitzero"`
	Password       string `json:"password,omitzero"`
}

// Command returns the command that opens the account, without its password.
func (n NewAccount) Command() commands.Open {
	return commands.Open{
		Email: n.Email, PaywayID: n.PaywayID, Administrator: n.Administrator,
		Profile: events.ProfileUpdated{
			FirstName: given(n.FirstName), LastName: given(n.LastName), CompanyName: given(n.CompanyName),
			AccountType: given(n.AccountType), CountryCode: given(n.Country),
			LanguageCode: given(n.Language), CurrencyCode: given(n.Currency),
			CustomerNumber: given(n.CustomerNumber),
		},
	}.WithDefaults()
}

// given returns the change to a text, or no change if it was left out.
func given(text string) events.Change[string] {
	if text == "" {
		return events.Change[string]{}
	}
	return events.Set(text)
}

func (k *Konto) openAccount(r *request) (Identity, error) {
	var body NewAccount
	if err := r.Read(&body); err != nil {
		return Identity{}, err
	}
	open := body.Command()
	if body.Password != "" {
		var err error
		if open.PasswordHash, err = commands.HashPassword(r.Context(), body.Password); err != nil {
			return Identity{}, err
		}
	}
	account, err := k.OpenAccount(r.Context(), r.Metadata(), open)
	return Identify(&account), err
}

func (k *Konto) findAccount(r *request) (Account, error) {
	var body struct {
		Ref string `json:"ref"` // any id, or the address
	}
	if err := r.Read(&body); err != nil {
		return Account{}, err
	}
	id, err := k.FindID(r.Context(), body.Ref)
	if err != nil {
		return Account{}, err
	}
	return k.Account(r.Context(), id, Moment{})
}

// streamTime is how long a caller of a stream may take to receive what was sent.
const streamTime = time.Minute

// searches are those that run. Each reads and decrypts all accounts.
var searches = make(chan struct{}, 2)

// searchAccounts answers with an account a line, and at the end a line that says so. Empty lines in
// between say that it still reads.
func (k *Konto) searchAccounts(r *request) error {
	var body struct {
		Text string `json:"text"`
	}
	if err := r.Read(&body); err != nil {
		return err
	}
	select {
	case searches <- struct{}{}:
		defer func() { <-searches }()
	default:
		return conflict("two searches are under way; try again when one has ended")
	}
	control, begun, written, found := http.NewResponseController(r.Writer), false, time.Now(), 0
	write := func(text []byte) error {
		if !begun {
			r.Writer.Header().Set("Content-Type", "application/x-ndjson")
			r.Writer.Header().Set("X-Accel-Buffering", "no") // nginx would hold lines back
		}
		begun, written = true, time.Now()
		_ = control.SetWriteDeadline(time.Now().Add(streamTime)) // fails only if there is no connection
		if _, err := r.Writer.Write(append(text, '\n')); err != nil {
			return err
		}
		return control.Flush()
	}
	line := func(v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return write(text)
	}
	page := func() error {
		select {
		case <-r.Stopping():
			return errStopping
		default:
		}
		if !r.StillAdmitted() {
			return errNotAdmitted
		}
		if time.Since(written) < heartbeat {
			return nil
		}
		return write(nil)
	}
	for account, err := range k.SearchAccounts(r.Context(), body.Text, page) {
		if err != nil && !begun {
			return err
		}
		if err != nil || line(account) != nil {
			panic(http.ErrAbortHandler) // the status is sent; the caller must see that the answer is cut off
		}
		found++
	}
	return line(struct {
		Found int `json:"found"`
	}{found})
}

func (k *Konto) getAccount(r *request) (Account, error) {
	given, err := parameters(r, "at")
	if err != nil {
		return Account{}, err
	}
	at, err := moment(given)
	if err != nil {
		return Account{}, err
	}
	id, err := k.accountOf(r)
	if err != nil {
		return Account{}, err
	}
	return k.Account(r.Context(), id, at)
}

func moment(given map[string]string) (m Moment, err error) {
	if text, ok := given["at"]; ok && m.UnmarshalText([]byte(text)) != nil {
		return m, invalid("at is neither a version, which counts from 1, nor a time such as 2026-01-31T12:00:00Z")
	}
	return m, nil
}

func (k *Konto) getHistory(r *request) (Page[Entry], error) {
	given, limit, err := paging(r, "at")
	if err != nil {
		return Page[Entry]{}, err
	}
	after, err := position(given, "after")
	if err != nil {
		return Page[Entry]{}, err
	}
	at, err := moment(given)
	if err != nil {
		return Page[Entry]{}, err
	}
	id, err := k.accountOf(r)
	if err != nil {
		return Page[Entry]{}, err
	}
	return k.HistoryPage(r.Context(), id, at, after, limit)
}

func (k *Konto) recordFacts(r *request) (Identity, error) {
	var facts events.FactsRecorded
	if err := r.Read(&facts); err != nil {
		return Identity{}, err
	}
	id, err := k.accountOf(r)
	if err != nil {
		return Identity{}, err
	}
	return k.RecordFacts(r.Context(), r.Metadata(), id, facts)
}

func (k *Konto) eraseAccount(r *request) (Erased, error) {
	id, err := k.accountOf(r)
	if err != nil {
		return Erased{}, err
	}
	if err := confirmed(r, id.String()); err != nil {
		return Erased{}, err
	}
	return k.EraseAccount(r.Context(), r.Metadata(), id)
}
