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
	// emailCodeLife is how long a code is valid.
	emailCodeLife = 30 * time.Minute
	// maxCodeTries is how many wrong codes cancel a request.
	maxCodeTries = 5
)

// The limits of an account on requests, each of which sends a mail or says that an address is
// taken, and on wrong codes. Together with the number of codes (events.EmailCodes) they bound
// what guessing can gain.
var (
	emailRequestLimit = Limit{"email-requests", 10, events.EmailTriesFor}
	emailCodeLimit    = Limit{"email-codes", 10, events.EmailTriesFor}
)

// mayTryCode returns *TooMany if too many wrong codes were tried for the account.
func mayTryCode(state *events.Account, at time.Time) error {
	if tries := state.EmailChange.Recent.At(at); tries.Failed >= emailCodeLimit.Most {
		return &TooMany{Limit: emailCodeLimit, RetryAfter: tries.Since.Add(emailCodeLimit.Span).Sub(at)}
	}
	return nil
}

// RequestEmailChange requests another email address. The address changes when the code that is
// mailed there is confirmed. A pending request is replaced; if NewEmail is the present address,
// it is only cancelled.
// Errors in addition to those of Do: ErrPendingOrder; *TooMany; *Taken if another account has
// the address. If the account has a password, *Taken is returned only for the right one.
type RequestEmailChange struct {
	NewEmail        string
	CurrentPassword string // must be the account's, if it has one
	If              Condition

	proof   proof
	request emailRequest
}

// ConfirmEmailChange makes the pending address the account's. A wrong code is stored as an
// event, and the last allowed one also cancels the request: the error is *Invalid although
// events were stored. Errors in addition to those of Do: ErrPendingOrder, ErrNoEmailChange,
// *TooMany.
type ConfirmEmailChange struct {
	Code string
	If   Condition

	codes events.EmailCodes
}

// CancelEmailChange cancels the pending request. Without one nothing changes.
type CancelEmailChange struct{ If Condition }

// MayChangeEmail returns why the account's owner cannot change its email address at present:
// ErrPendingOrder, or nil.
func MayChangeEmail(a *events.Account) error {
	if a.Facts.PendingOrder != "" {
		return ErrPendingOrder
	}
	return nil
}

// emailRequest is what prepare makes and finds for a request for another address.
type emailRequest struct {
	at       time.Time
	request  ulid.ULID
	codeHash []byte
	expires  time.Time
	taken    bool    // another account has the address; the claim decides again when the code is confirmed
	refused  counted // earlier requests for taken addresses
}

// check returns why an account cannot request the address: *TooMany, or *Taken with the field.
// The limit comes first, and requests for free and for taken addresses both count, so that a
// caller can learn of a bounded number of addresses whether others have them.
func (t *emailRequest) check(state *events.Account, field string) error {
	tries := state.EmailChange.Recent.At(t.at)
	if tries.Requests+t.refused.times >= emailRequestLimit.Most {
		until, later := tries.Since, t.refused.times
		if t.refused.since.Before(until) {
			until, later = t.refused.since, tries.Requests
		}
		// When the older count ends, the other one can still be too high.
		if later >= emailRequestLimit.Most {
			until = slices.MaxFunc([]time.Time{tries.Since, t.refused.since}, time.Time.Compare)
		}
		return &TooMany{Limit: emailRequestLimit, RetryAfter: until.Add(emailRequestLimit.Span).Sub(t.at)}
	}
	if err := mayTryCode(state, t.at); err != nil {
		return err
	}
	if t.taken {
		return &Taken{Field: field}
	}
	return nil
}

func (t emailRequest) requested(email string) events.EmailChangeRequested {
	return events.EmailChangeRequested{NewEmail: email, Request: t.request, CodeHash: t.codeHash, ExpiresAt: t.expires}
}

func (h *Accounts) newEmailRequest(ctx context.Context, id ulid.ULID, email string) (t emailRequest, err error) {
	holders, err := h.store.Holders(ctx, events.EmailClaim(strings.TrimSpace(email)))
	if err != nil {
		return t, fmt.Errorf("look up the holders of an address: %w", err)
	}
	t.taken = len(holders) > 0 && !slices.Contains(holders, events.AccountStream(id))
	now := h.now()
	t.at = now
	if t.refused, err = h.takenRequests.count(ctx, id, now, t.taken); err != nil {
		return t, err
	}
	if t.request, err = newID(now); err != nil {
		return t, err
	}
	t.codeHash = h.codes.Hash(t.request, h.codes.Code(t.request))
	t.expires = now.Add(emailCodeLife).UTC().Truncate(time.Millisecond)
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
	r.request, err = h.newEmailRequest(ctx, by.account, r.NewEmail)
	return r, err
}

func (c ConfirmEmailChange) prepare(_ context.Context, h *Accounts, _ caller) (Command, error) {
	c.codes = h.codes
	return c, nil
}

func (r RequestEmailChange) decide(state events.Account, at time.Time) (decision, error) {
	var c checker
	if r.NewEmail == "" || r.NewEmail != state.Email {
		c.required("/newEmail", &r.NewEmail, emailAddress)
	}
	if err := r.proof.check(&c, state); err != nil {
		return decision{}, err
	}
	back := r.NewEmail == state.Email && state.Exists()
	cancelled := cancelPending(&state, at)
	if back && cancelled == nil {
		c.reject("/newEmail", &fault{CodeInvalidValue, "The address is the account's already."})
	}
	if len(c.wrong) > 0 {
		return decision{}, &Invalid{Fields: c.wrong}
	}
	if back {
		if err := existsAt(state, r.If); err != nil {
			return decision{}, err
		}
		return decision{payloads: cancelled}, nil
	}
	if err := mayChangeEmailAt(state, r.If); err != nil {
		return decision{}, err
	}
	if err := r.request.check(&state, "/newEmail"); err != nil {
		return decision{}, err
	}
	return decision{payloads: []events.Payload{r.request.requested(r.NewEmail)}}, nil
}

func (c ConfirmEmailChange) decide(state events.Account, at time.Time) (decision, error) {
	if err := mayChangeEmailAt(state, c.If); err != nil {
		return decision{}, err
	}
	pending := &state.EmailChange
	if !pending.Pending(at) {
		return decision{}, ErrNoEmailChange
	}
	if err := mayTryCode(&state, at); err != nil {
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

func (c CancelEmailChange) decide(state events.Account, at time.Time) (decision, error) {
	if err := existsAt(state, c.If); err != nil {
		return decision{}, err
	}
	return decision{payloads: cancelPending(&state, at)}, nil
}

// cancelPending cancels the pending email change, if there is one. A command that changes the
// address or the password in another way appends this event too, so that the code is invalid
// from then on and consumers know.
func cancelPending(state *events.Account, at time.Time) []events.Payload {
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

// existsAt returns ErrNotFound if the account does not exist, or *VersionMismatch if its version
// does not meet the condition.
func existsAt(state events.Account, condition Condition) error {
	if !state.Exists() {
		return ErrNotFound
	}
	return condition.Check(state.Version)
}
