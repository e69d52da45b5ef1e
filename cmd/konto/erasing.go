package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/projections/deliveries"
	"konto/projections/mail"
	"konto/projections/webhook"
)

// erasure is one account on its way out. Every step may be repeated, and a crash
// after any of them is made up for at the next start, by the ledger:
//
//	intend       the ledger says that the account is to be erased
//	remember     what the account is called, sealed apart from its key (erasedletters.go)
//	notice       what third parties are still to be told, sealed apart from the account's key
//	release      claims of an account that nobody can read any more: an older log was restored
//	end          AccountErased: claims and idempotency answers go, commands are refused
//	revoke       the account's keys and sessions, and those that it delegated
//	destroy      the keys that seal all of these, in keys.db
//	forget       what memory and the delivery log hold
//	clear        letters in mail/
//	letters      dead letters and waiting facts that name the account
//	prove        the ledger has the signed proof: nothing is left to do
//
// The order matters: credentials cannot be told to be the account's once their keys are
// destroyed, nor can its Payway id.
type erasure struct {
	house    *house
	account  ulid.ULID
	meta     events.Metadata
	again    bool                        // whatever the ledger says: another log or keyring was put back
	caughtUp func(context.Context) error // waits for the read model
	inbound  inboundMessages             // the server's; nil where none runs

	credentials []ulid.ULID
	event       ulid.ULID // AccountErased, zero when the log does not know the account
	position    uint64
}

// erase erases an account, in a house whose follower runs. Error:
// commands.ErrNotFound. After another error it is to be called again; the next
// start does so too. inbound is the server's, nil where none runs.
func (h *house) erase(ctx context.Context, id ulid.ULID, inbound inboundMessages) (erased, error) {
	h.erasing.Lock()
	defer h.erasing.Unlock()
	meta, err := operator()
	if err != nil {
		return erased{}, err
	}
	e := &erasure{house: h, account: id, meta: meta, caughtUp: h.caughtUp, inbound: inbound}
	if err := e.mustBeKnown(ctx); err != nil {
		return erased{}, err
	}
	// Begun, it does not end with who asked: what is half done helps nobody.
	if err := e.run(context.WithoutCancel(ctx)); err != nil {
		return erased{}, fmt.Errorf("the erasure is not finished, repeat it or restart konto: %w", err)
	}
	done, _ := h.erasures.of(id)
	return done, nil
}

func (e *erasure) stream() events.Stream { return events.AccountStream(e.account) }

func (e *erasure) steps() []func(context.Context) error {
	return []func(context.Context) error{
		e.intend, e.remember, e.notice, e.release, e.end, e.revoke, e.destroy, e.forget, e.clear, e.letters, e.prove,
	}
}

func (e *erasure) run(ctx context.Context) error {
	for _, step := range e.steps() {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mustBeKnown refuses what is neither in the log nor in the ledger nor in the keyring.
// A log that was set aside, or a backup, may have an account of which the keyring alone
// knows: its key is what there is to destroy.
func (e *erasure) mustBeKnown(ctx context.Context) error {
	head, err := e.house.store.StreamHead(ctx, e.stream())
	if _, known := e.house.erasures.of(e.account); err != nil || head.Version > 0 || known {
		return err
	}
	_, err = e.house.keys.Cipher(ctx, e.stream())
	switch {
	case errors.Is(err, eventstore.ErrNoKey):
		return commands.ErrNotFound
	case errors.Is(err, eventstore.ErrDestroyed), errors.Is(err, keyring.ErrDamagedKey):
		return nil
	}
	return err
}

// intend takes the proof back of an erasure that has to be done again: should this one
// be cut off, what is left is found by that alone.
func (e *erasure) intend(context.Context) error {
	if known, ok := e.house.erasures.of(e.account); ok && (known.Proof == "" || !e.again) {
		return nil
	}
	return e.house.erasures.add(erasureLine{Account: e.account, Intended: now()})
}

// notice keeps the Payway id for those who know the account by nothing else.
func (e *erasure) notice(ctx context.Context) error {
	if err := e.caughtUp(ctx); err != nil {
		return err
	}
	parties, err := e.house.model.ThirdParties(ctx)
	if err != nil {
		return err
	}
	a, err := e.house.accounts.Load(ctx, e.account)
	if errors.Is(err, commands.ErrNotFound) {
		return nil // ended already, and the notice was kept before
	}
	if err != nil {
		return err
	}
	for i := range parties {
		if deliveries.ToldByPaywayID(&parties[i]) {
			return e.house.ledger.KeepNotice(ctx, e.account, a.PaywayID)
		}
	}
	return nil
}

// release gives up what the account holds although nobody can tell what it is.
func (e *erasure) release(ctx context.Context) error {
	last, err := e.last(ctx)
	if err != nil || !last.Shredded {
		return err
	}
	var held []eventstore.ClaimKey
	for after := (eventstore.HeldClaim{}); ; {
		page, err := e.house.store.Claims(ctx, after, pageSize)
		if err != nil {
			return err
		}
		for _, c := range page {
			if after = c; c.Stream == e.stream() {
				held = append(held, c.Key)
			}
		}
		if len(page) < pageSize {
			break
		}
	}
	if len(held) == 0 {
		return nil
	}
	return e.house.store.Release(ctx, e.stream(), last.Version, held...)
}

// last is the account's last event, the zero Event when it has none.
func (e *erasure) last(ctx context.Context) (events.Event, error) {
	head, err := e.house.store.StreamHead(ctx, e.stream())
	if err != nil || head.Version == 0 {
		return events.Event{}, err
	}
	page, err := e.house.store.ReadStream(ctx, e.stream(), head.Version-1, 1)
	if err != nil || len(page) == 0 {
		return events.Event{}, err
	}
	return page[0], nil
}

func (e *erasure) end(ctx context.Context) error {
	_, err := e.house.accounts.Do(ctx, e.account, e.meta, commands.Erase{})
	if err != nil && !errors.Is(err, commands.ErrNotFound) {
		return err
	}
	last, err := e.last(ctx)
	e.event, e.position = last.ID, last.Position
	return err
}

// revoke ends the account's credentials. It looks for them after the account's
// end, since when none can be issued any more.
func (e *erasure) revoke(ctx context.Context) error {
	if err := e.caughtUp(ctx); err != nil {
		return err
	}
	for after := (ulid.ULID{}); ; {
		page, err := e.house.model.Credentials(ctx, after, pageSize)
		if err != nil {
			return err
		}
		for _, c := range page {
			after = c.ID
			its := c.Account == e.account || c.Parent == e.account
			// In a log that was put back, nobody can tell any more whose the
			// credentials are whose keys were destroyed: they have no kind.
			if !its && (!e.again || c.Kind != "") {
				continue
			}
			if its {
				e.credentials = append(e.credentials, c.ID)
			}
			if _, err := e.house.credentials.Revoke(ctx, e.meta, c.ID); err != nil {
				return err
			}
		}
		if len(page) == 0 {
			return e.caughtUp(ctx)
		}
	}
}

// streams are those whose keys are destroyed.
func (e *erasure) streams() []events.Stream {
	streams := []events.Stream{e.stream()}
	for _, id := range e.credentials {
		streams = append(streams, events.CredentialStream(id))
	}
	return streams
}

func (e *erasure) destroy(ctx context.Context) error {
	return e.house.keys.Destroy(ctx, e.streams()...)
}

func (e *erasure) forget(ctx context.Context) error {
	e.house.store.Forget(e.streams()...)
	e.house.model.Forget(e.account, e.credentials...)
	e.house.past.Forget(e.account)
	return e.house.ledger.DeleteAccount(ctx, e.account)
}

// clear removes the letters with codes. Their files are named for events, whose
// types the log keeps in clear.
func (e *erasure) clear(ctx context.Context) error { return e.house.removeLetters(ctx, e.account) }

func (h *house) removeLetters(ctx context.Context, account ulid.ULID) error {
	var letters []ulid.ULID
	for after := uint64(0); ; {
		page, err := h.log.ReadStream(ctx, events.AccountStream(account), after, pageSize)
		if err != nil {
			return err
		}
		for _, r := range page {
			if after = r.Version; r.Type == events.TypeEmailChangeRequested {
				letters = append(letters, r.ID)
			}
		}
		if len(page) < pageSize {
			return mail.Forget(filepath.Join(h.folder, mailFolder), letters...)
		}
	}
}

// prove signs what was done. An erasure that was proven keeps its proof, unless it
// had to be done again in a log that was restored.
func (e *erasure) prove(context.Context) error {
	if known, _ := e.house.erasures.of(e.account); known.Proof != "" && !e.again {
		return nil
	}
	at := now()
	proof, err := webhook.ErasureProof{
		Account: e.account, Event: e.event, Position: e.position, Keys: 1 + len(e.credentials), At: at,
	}.Sign(webhook.TokenKey(e.house.keys.Derive))
	if err != nil {
		return err
	}
	if err := e.house.erasures.add(erasureLine{Account: e.account, Erased: at, Proof: proof}); err != nil {
		return fmt.Errorf("everything is erased, but the proof is not kept: %w", err)
	}
	return nil
}

// now is as precise as anybody needs to know.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
