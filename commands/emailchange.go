package commands

import (
	"context"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
)

const (
	// defaultEmailCodeLife is how long a code can be used.
	defaultEmailCodeLife = 30 * time.Minute
	// maxCodeTries is how many wrong codes end a request.
	maxCodeTries = 5
)

// How many requests, each of which mails somebody or tells that an address is
// taken, and how many wrong codes an account has. Together with the number of
// codes (events.EmailCodes) they bound what guessing can gain.
var (
	emailRequests = Limit{"email-requests", 10, events.EmailTriesFor}
	emailCodes    = Limit{"email-codes", 10, events.EmailTriesFor}
)

// mayTryCode refuses an account whose owner guessed too often.
func mayTryCode(state *events.Account, at time.Time) error {
	if recent := state.EmailChange.Recent.At(at); recent.Failed >= emailCodes.Most {
		return &TooMany{Limit: emailCodes, RetryAfter: recent.Since.Add(emailCodes.Span).Sub(at)}
	}
	return nil
}

// RequestEmailChange asks for another address, which takes effect once the code
// that is mailed there is confirmed. It replaces a request that is pending; the
// present address only withdraws that request.
// Errors beside those of Do: ErrPendingOrder; *TooMany; *Taken when another
// account has the address, which is told only after the right password, where
// the account has one.
type RequestEmailChange struct {
	NewEmail        string
	CurrentPassword string // must be the account's, if it has one
	If              Condition

	proof  proof
	ticket ticket
}

// ConfirmEmailChange makes the pending address the account's. A wrong code is
// recorded, and the last try's also cancels the request: then the error is
// *Invalid although events were stored. Errors beside those of Do:
// ErrPendingOrder, ErrNoEmailChange, *TooMany.
type ConfirmEmailChange struct {
	Code string
	If   Condition

	at    time.Time
	codes events.EmailCodes
}

// CancelEmailChange withdraws the pending request. Without one nothing changes.
type CancelEmailChange struct {
	If Condition

	at time.Time
}

// MayChangeEmail tells why the account's owner may not change its address at
// present: ErrPendingOrder, or nil.
func MayChangeEmail(a *events.Account) error {
	if a.Facts.PendingOrder != "" {
		return ErrPendingOrder
	}
	return nil
}

// ticket is what a request holds beside the address, made before it is decided.
type ticket struct {
	at       time.Time
	request  ulid.ULID
	codeHash []byte
	expires  time.Time
	taken    bool    // by another account; the claim decides again when the code is confirmed
	refused  counted // earlier requests for addresses that were taken
}

// check tells why an account cannot ask for the ticket's address: *TooMany, or
// *Taken with the field. The limit is judged first, and requests for free and
// taken addresses both count, so that nobody learns without end which
// addresses others have.
func (t *ticket) check(state *events.Account, field string) error {
	recent := state.EmailChange.Recent.At(t.at)
	if recent.Requests+t.refused.times >= emailRequests.Most {
		until, later := recent.Since, t.refused.times
		if t.refused.since.Before(until) {
			until, later = t.refused.since, recent.Requests
		}
		// Once the older count is forgotten, the other one may still be too many.
		if later >= emailRequests.Most {
			until = latest(recent.Since, t.refused.since)
		}
		return &TooMany{Limit: emailRequests, RetryAfter: until.Add(emailRequests.Span).Sub(t.at)}
	}
	if err := mayTryCode(state, t.at); err != nil {
		return err
	}
	if t.taken {
		return &Taken{Field: field}
	}
	return nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (t ticket) requested(email string) events.EmailChangeRequested {
	return events.EmailChangeRequested{NewEmail: email, Request: t.request, CodeHash: t.codeHash, ExpiresAt: t.expires}
}

func (h *Accounts) newTicket(ctx context.Context, id ulid.ULID, email string) (t ticket, err error) {
	holders, err := h.store.Holders(ctx, events.EmailClaim(strings.TrimSpace(email)))
	if err != nil {
		return t, fmt.Errorf("look up the holders of an address: %w", err)
	}
	t.taken = len(holders) > 0 && !slices.Contains(holders, events.AccountStream(id))
	now := h.now()
	t.at, t.refused = now, h.taken.count(id, now, t.taken)
	if t.request, err = newID(now); err != nil {
		return t, err
	}
	t.codeHash = h.codes.Hash(t.request, h.codes.Code(t.request))
	t.expires = now.Add(h.emailCodeLife).UTC().Truncate(time.Millisecond)
	return t, nil
}

func (r RequestEmailChange) prepare(ctx context.Context, h *Accounts, by caller) (_ Command, err error) {
	state, err := h.known(ctx, by.account)
	if err != nil {
		return nil, err
	}
	if r.proof, err = h.prove(ctx, by, r.CurrentPassword, state.PasswordHash); err != nil || !r.proof.holds {
		return r, err
	}
	r.ticket, err = h.newTicket(ctx, by.account, r.NewEmail)
	return r, err
}

func (c ConfirmEmailChange) prepare(_ context.Context, h *Accounts, _ caller) (Command, error) {
	c.at, c.codes = h.now(), h.codes
	return c, nil
}

func (c CancelEmailChange) prepare(_ context.Context, h *Accounts, _ caller) (Command, error) {
	c.at = h.now()
	return c, nil
}

func (r RequestEmailChange) decide(state events.Account) (decision, error) {
	var c checker
	if r.NewEmail == "" || r.NewEmail != state.Email {
		c.required("/newEmail", &r.NewEmail, emailAddress)
	}
	if err := r.proof.check(&c, state); err != nil {
		return decision{}, err
	}
	back := r.NewEmail == state.Email && state.Exists()
	withdrawal := withdrawn(&state, r.ticket.at)
	if back && withdrawal == nil {
		c.reject("/newEmail", &fault{CodeInvalidValue, "The address is the account's already."})
	}
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if back {
		if err := existsAt(state, r.If); err != nil {
			return decision{}, err
		}
		return decision{payloads: withdrawal}, nil
	}
	if err := mayChangeEmailAt(state, r.If); err != nil {
		return decision{}, err
	}
	if err := r.ticket.check(&state, "/newEmail"); err != nil {
		return decision{}, err
	}
	return decision{payloads: []events.Payload{r.ticket.requested(r.NewEmail)}}, nil
}

func (c ConfirmEmailChange) decide(state events.Account) (decision, error) {
	if err := mayChangeEmailAt(state, c.If); err != nil {
		return decision{}, err
	}
	pending := &state.EmailChange
	if !pending.Pending(c.at) {
		return decision{}, ErrNoEmailChange
	}
	if err := mayTryCode(&state, c.at); err != nil {
		return decision{}, err
	}
	if subtle.ConstantTimeCompare(c.codes.Hash(pending.Request, c.Code), pending.CodeHash) == 1 {
		return decision{payloads: []events.Payload{events.EmailChanged{
			PreviousEmail: state.Email, NewEmail: pending.NewEmail, How: events.EmailVerified,
		}}}, nil
	}
	d := decision{
		payloads: []events.Payload{events.EmailChangeAttemptFailed{Request: pending.Request}},
		refusal:  &Invalid{Fields: []FieldError{{"/code", CodeIncorrect, "The code is not the one that was mailed."}}},
	}
	if pending.Failed+1 >= maxCodeTries {
		d.payloads = append(d.payloads, events.EmailChangeCancelled{NewEmail: pending.NewEmail})
	}
	return d, nil
}

func (c CancelEmailChange) decide(state events.Account) (decision, error) {
	if err := existsAt(state, c.If); err != nil {
		return decision{}, err
	}
	return decision{payloads: withdrawn(&state, c.at)}, nil
}

// withdrawn ends the change of address that is pending, if there is one. What
// changes the address or the password in another way says so in its own append,
// so that the code is void from there on and consumers hear of it.
func withdrawn(state *events.Account, at time.Time) []events.Payload {
	if !state.EmailChange.Pending(at) {
		return nil
	}
	return []events.Payload{events.EmailChangeCancelled{NewEmail: state.EmailChange.NewEmail}}
}

func mayChangeEmailAt(state events.Account, condition Condition) error {
	if !state.Exists() {
		return ErrNotFound
	}
	if err := MayChangeEmail(&state); err != nil {
		return err
	}
	return existsAt(state, condition)
}

// existsAt refuses an account that is unknown or whose version does not meet the
// condition.
func existsAt(state events.Account, condition Condition) error {
	if !state.Exists() {
		return ErrNotFound
	}
	return condition.Check(state.Version)
}
