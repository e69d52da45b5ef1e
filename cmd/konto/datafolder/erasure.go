package datafolder

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

// Erasure erases one account. Every step may be repeated. If konto is killed after any
// step, the next start goes on, because the list of erasures has the account:
//
//	intend     the list of erasures says that the account is to be erased
//	keepNames  what the account is called is stored, sealed without the account's key
//	keepNotice what third parties must still be told is stored, sealed without the account's key
//	release    the claims of an account that nobody can read, after an older log was restored
//	end        AccountErased is appended: claims and idempotency answers go, commands are refused
//	revoke     the account's keys and sessions, and those that it delegated, are revoked
//	destroy    the keys that seal all of these are destroyed, in keys.db
//	evict      caches and the delivery log delete what they hold
//	mails      mails with codes are deleted from mail/
//	messages   dead letters and waiting facts that name the account are deleted
//	prove      the list has the signed proof: nothing is left to do
//
// The order matters: after the keys are destroyed nothing tells which credentials are the
// account's, or what its Payway id is.
type Erasure struct {
	Folder  *Folder
	Account ulid.ULID
	Meta    events.Metadata
	Again   bool                        // erase again although the list has a proof: another log or other keys were restored
	CatchUp func(context.Context) error // waits for the read model
	Inbound InboundMessages             // nil if no server runs

	credentials []ulid.ULID
	event       ulid.ULID // AccountErased, zero when the log does not know the account
	position    uint64
}

// Erase erases an account in a folder whose follower runs. inbound is nil if no server runs.
// Error: commands.ErrNotFound. After any other error Erase must be called again; the next
// start does so too.
func (f *Folder) Erase(ctx context.Context, id ulid.ULID, inbound InboundMessages) (Erased, error) {
	f.erasing.Lock()
	defer f.erasing.Unlock()
	meta, err := Operator()
	if err != nil {
		return Erased{}, err
	}
	e := &Erasure{Folder: f, Account: id, Meta: meta, CatchUp: f.CatchUp, Inbound: inbound}
	if err := e.mustBeKnown(ctx); err != nil {
		return Erased{}, err
	}
	// An erasure that has begun goes on although the caller is gone: half an erasure helps
	// nobody.
	if err := e.Run(context.WithoutCancel(ctx)); err != nil {
		return Erased{}, fmt.Errorf("the erasure is not finished, repeat it or restart konto: %w", err)
	}
	done, _ := f.Erasures.Of(id)
	return done, nil
}

func (e *Erasure) stream() events.Stream { return events.AccountStream(e.Account) }

// Steps returns the steps in their order.
func (e *Erasure) Steps() []func(context.Context) error {
	return []func(context.Context) error{
		e.intend, e.keepNames, e.keepNotice, e.release, e.end, e.revoke, e.destroy, e.evict, e.mails, e.messages, e.prove,
	}
}

// Run runs all steps.
func (e *Erasure) Run(ctx context.Context) error {
	for _, step := range e.Steps() {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mustBeKnown refuses an account that neither the log nor the list nor the keys know. A log
// that was replaced, or a backup, may have an account of which only the keys know; its key is
// then destroyed.
func (e *Erasure) mustBeKnown(ctx context.Context) error {
	head, err := e.Folder.Store.StreamHead(ctx, e.stream())
	if _, known := e.Folder.Erasures.Of(e.Account); err != nil || head.Version > 0 || known {
		return err
	}
	_, err = e.Folder.Keys.Cipher(ctx, e.stream())
	switch {
	case errors.Is(err, eventstore.ErrNoKey):
		return commands.ErrNotFound
	case errors.Is(err, eventstore.ErrDestroyed), errors.Is(err, keyring.ErrDamagedKey):
		return nil
	}
	return err
}

// intend removes the proof of an erasure that must be done again: if this erasure is
// interrupted, only the missing proof says so.
func (e *Erasure) intend(context.Context) error {
	if known, ok := e.Folder.Erasures.Of(e.Account); ok && (known.Proof == "" || !e.Again) {
		return nil
	}
	return e.Folder.Erasures.add(ErasureLine{Account: e.Account, Intended: now()})
}

// keepNotice stores the Payway id for third parties that know the account by nothing else.
func (e *Erasure) keepNotice(ctx context.Context) error {
	if err := e.CatchUp(ctx); err != nil {
		return err
	}
	parties, err := e.Folder.Model.ThirdParties(ctx)
	if err != nil {
		return err
	}
	a, err := e.Folder.Accounts.Load(ctx, e.Account)
	if errors.Is(err, commands.ErrNotFound) {
		return nil // ended already, and the notice was kept before
	}
	if err != nil {
		return err
	}
	for i := range parties {
		if deliveries.ToldByPaywayID(&parties[i]) {
			return e.Folder.DeliveryStore.KeepNotice(ctx, e.Account, a.PaywayID)
		}
	}
	return nil
}

// release releases the claims of the account although nobody can read which they are.
func (e *Erasure) release(ctx context.Context) error {
	last, err := e.last(ctx)
	if err != nil || !last.Shredded {
		return err
	}
	var held []eventstore.ClaimKey
	for after := (eventstore.HeldClaim{}); ; {
		page, err := e.Folder.Store.Claims(ctx, after, PageSize)
		if err != nil {
			return err
		}
		for _, c := range page {
			if after = c; c.Stream == e.stream() {
				held = append(held, c.Key)
			}
		}
		if len(page) < PageSize {
			break
		}
	}
	if len(held) == 0 {
		return nil
	}
	return e.Folder.Store.Release(ctx, e.stream(), last.Version, held...)
}

// last returns the account's last event, the zero Event if it has none.
func (e *Erasure) last(ctx context.Context) (events.Event, error) {
	head, err := e.Folder.Store.StreamHead(ctx, e.stream())
	if err != nil || head.Version == 0 {
		return events.Event{}, err
	}
	page, err := e.Folder.Store.ReadStream(ctx, e.stream(), head.Version-1, 1)
	if err != nil || len(page) == 0 {
		return events.Event{}, err
	}
	return page[0], nil
}

func (e *Erasure) end(ctx context.Context) error {
	_, err := e.Folder.Accounts.Do(ctx, e.Account, e.Meta, commands.Erase{})
	if err != nil && !errors.Is(err, commands.ErrNotFound) {
		return err
	}
	last, err := e.last(ctx)
	e.event, e.position = last.ID, last.Position
	return err
}

// revoke revokes the account's credentials. It looks for them after the account's end, because
// none can be issued afterwards.
func (e *Erasure) revoke(ctx context.Context) error {
	if err := e.CatchUp(ctx); err != nil {
		return err
	}
	for after := (ulid.ULID{}); ; {
		page, err := e.Folder.Model.Credentials(ctx, after, PageSize)
		if err != nil {
			return err
		}
		for _, c := range page {
			after = c.ID
			its := c.Account == e.Account || c.Parent == e.Account
			// In a log that was restored nothing tells whose the credentials are whose keys
			// were destroyed: they have no kind.
			if !its && (!e.Again || c.Kind != "") {
				continue
			}
			if its {
				e.credentials = append(e.credentials, c.ID)
			}
			if _, err := e.Folder.Credentials.Revoke(ctx, e.Meta, c.ID); err != nil {
				return err
			}
		}
		if len(page) == 0 {
			return e.CatchUp(ctx)
		}
	}
}

// streams returns the streams whose keys are destroyed.
func (e *Erasure) streams() []events.Stream {
	streams := []events.Stream{e.stream()}
	for _, id := range e.credentials {
		streams = append(streams, events.CredentialStream(id))
	}
	return streams
}

func (e *Erasure) destroy(ctx context.Context) error {
	return e.Folder.Keys.Destroy(ctx, e.streams()...)
}

func (e *Erasure) evict(ctx context.Context) error {
	e.Folder.Store.Evict(e.streams()...)
	e.Folder.Model.Evict(e.Account, e.credentials...)
	e.Folder.Past.Evict(e.Account)
	return e.Folder.DeliveryStore.DeleteAccount(ctx, e.Account)
}

// mails deletes the mails with codes. Their files are named for events, whose types the log
// keeps in clear.
func (e *Erasure) mails(ctx context.Context) error { return e.Folder.deleteMails(ctx, e.Account) }

func (f *Folder) deleteMails(ctx context.Context, account ulid.ULID) error {
	var mails []ulid.ULID
	for after := uint64(0); ; {
		page, err := f.Log.ReadStream(ctx, events.AccountStream(account), after, PageSize)
		if err != nil {
			return err
		}
		for _, r := range page {
			if after = r.Version; r.Type == events.TypeEmailChangeRequested {
				mails = append(mails, r.ID)
			}
		}
		if len(page) < PageSize {
			return mail.Delete(filepath.Join(f.Path, MailName), mails...)
		}
	}
}

// prove signs what was done. An erasure that has a proof keeps it, unless it had to be done
// again.
func (e *Erasure) prove(context.Context) error {
	if known, _ := e.Folder.Erasures.Of(e.Account); known.Proof != "" && !e.Again {
		return nil
	}
	at := now()
	proof, err := webhook.ErasureProof{
		Account: e.Account, Event: e.event, Position: e.position, Keys: 1 + len(e.credentials), At: at,
	}.Sign(webhook.TokenKey(e.Folder.Keys.Derive))
	if err != nil {
		return err
	}
	if err := e.Folder.Erasures.add(ErasureLine{Account: e.Account, Erased: at, Proof: proof}); err != nil {
		return fmt.Errorf("everything is erased, but the proof is not kept: %w", err)
	}
	return nil
}

// now returns the time to the second, which is precise enough.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
