package commands

import (
	"context"
	"crypto/subtle"
	"fmt"
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
	// How many requests, each of which mails somebody, and how many wrong codes
	// an account has in an hour (events.EmailTries). Together with the number of
	// codes (events.EmailCodes) they bound what guessing can gain.
	maxRecentRequests = 10
	maxRecentTries    = 10
)

// mayAskForCode refuses an account whose owner asked or guessed too often.
func mayAskForCode(state *events.Account, at time.Time) error {
	if recent := state.EmailChange.Recent.At(at); recent.Requests >= maxRecentRequests {
		return untilTriesEnd(recent, at)
	}
	return mayTryCode(state, at)
}

// mayTryCode refuses an account whose owner guessed too often.
func mayTryCode(state *events.Account, at time.Time) error {
	if recent := state.EmailChange.Recent.At(at); recent.Failed >= maxRecentTries {
		return untilTriesEnd(recent, at)
	}
	return nil
}

func untilTriesEnd(recent events.EmailTries, at time.Time) error {
	return &TooMany{RetryAfter: recent.Since.Add(events.EmailTriesFor).Sub(at)}
}

// RequestEmailChange asks for another address, which takes effect once the code
// that is mailed there is confirmed. It replaces a request that is pending.
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

func (RequestEmailChange) command() {}
func (ConfirmEmailChange) command() {}
func (CancelEmailChange) command()  {}

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
	taken    bool // by another account; the claim decides again when the code is confirmed
}

func (t ticket) requested(email string) events.EmailChangeRequested {
	return events.EmailChangeRequested{NewEmail: email, Request: t.request, CodeHash: t.codeHash, ExpiresAt: t.expires}
}

func (h *Accounts) newTicket(ctx context.Context, id ulid.ULID, email string) (t ticket, err error) {
	holder, err := h.store.Holder(ctx, events.EmailClaim(strings.TrimSpace(email)))
	if err != nil {
		return t, fmt.Errorf("look up the holder of an address: %w", err)
	}
	t.taken = holder != "" && holder != events.AccountStream(id)
	now := h.now()
	t.at = now
	if t.request, err = h.ids.next(now); err != nil {
		return t, err
	}
	t.codeHash = h.codes.Hash(t.request, h.codes.Code(t.request))
	t.expires = now.Add(h.emailCodeLife).UTC().Truncate(time.Millisecond)
	return t, nil
}

func (r RequestEmailChange) prepare(ctx context.Context, h *Accounts, id ulid.ULID) (_ Command, err error) {
	state, err := h.known(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.proof, err = h.prove(ctx, id, r.CurrentPassword, state.PasswordHash); err != nil {
		return nil, err
	}
	r.ticket, err = h.newTicket(ctx, id, r.NewEmail)
	return r, err
}

func (c ConfirmEmailChange) prepare(_ context.Context, h *Accounts, _ ulid.ULID) (Command, error) {
	c.at, c.codes = h.now(), h.codes
	return c, nil
}

func (c CancelEmailChange) prepare(_ context.Context, h *Accounts, _ ulid.ULID) (Command, error) {
	c.at = h.now()
	return c, nil
}

func decideRequestEmailChange(state events.Account, r RequestEmailChange) (decision, error) {
	var c checker
	c.required("/newEmail", &r.NewEmail, mailAddress)
	if err := r.proof.check(&c, state); err != nil {
		return decision{}, err
	}
	if r.NewEmail == state.Email && state.Exists() {
		c.reject("/newEmail", &fault{CodeInvalidValue, "The address is the account's already."})
	}
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if err := mayChangeEmailAt(state, r.If); err != nil {
		return decision{}, err
	}
	if err := mayAskForCode(&state, r.ticket.at); err != nil {
		return decision{}, err
	}
	if r.ticket.taken {
		return decision{}, &Taken{Field: "/newEmail"}
	}
	return decision{payloads: []events.Payload{r.ticket.requested(r.NewEmail)}}, nil
}

func decideConfirmEmailChange(state events.Account, c ConfirmEmailChange) (decision, error) {
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

func decideCancelEmailChange(state events.Account, c CancelEmailChange) (decision, error) {
	if err := existsAt(state, c.If); err != nil {
		return decision{}, err
	}
	if !state.EmailChange.Pending(c.at) {
		return decision{}, nil
	}
	return decision{payloads: []events.Payload{events.EmailChangeCancelled{NewEmail: state.EmailChange.NewEmail}}}, nil
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
