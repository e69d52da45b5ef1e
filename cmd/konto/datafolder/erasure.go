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

// Erasure is one account on its way out. Every step may be repeated, and a crash
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
type Erasure struct {
	Folder  *Folder
	Account ulid.ULID
	Meta    events.Metadata
	Again   bool                        // whatever the ledger says: another log or keyring was put back
	CatchUp func(context.Context) error // waits for the read model
	Inbound InboundMessages             // the server's; nil where none runs

	credentials []ulid.ULID
	event       ulid.ULID // AccountErased, zero when the log does not know the account
	position    uint64
}

// Erase erases an account, in a folder whose follower runs. Error:
// commands.ErrNotFound. After another error it is to be called again; the next
// start does so too. inbound is the server's, nil where none runs.
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
	// Begun, it does not end with who asked: what is half done helps nobody.
	if err := e.Run(context.WithoutCancel(ctx)); err != nil {
		return Erased{}, fmt.Errorf("the erasure is not finished, repeat it or restart konto: %w", err)
	}
	done, _ := f.Erasures.Of(id)
	return done, nil
}

func (e *Erasure) stream() events.Stream { return events.AccountStream(e.Account) }

func (e *Erasure) Steps() []func(context.Context) error {
	return []func(context.Context) error{
		e.intend, e.remember, e.notice, e.release, e.end, e.revoke, e.destroy, e.forget, e.clear, e.letters, e.prove,
	}
}

func (e *Erasure) Run(ctx context.Context) error {
	for _, step := range e.Steps() {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mustBeKnown refuses what is neither in the log nor in the ledger nor in the keyring.
// A log that was set aside, or a backup, may have an account of which the keyring alone
// knows: its key is what there is to destroy.
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

// intend takes the proof back of an erasure that has to be done again: should this one
// be cut off, what is left is found by that alone.
func (e *Erasure) intend(context.Context) error {
	if known, ok := e.Folder.Erasures.Of(e.Account); ok && (known.Proof == "" || !e.Again) {
		return nil
	}
	return e.Folder.Erasures.add(ErasureLine{Account: e.Account, Intended: now()})
}

// notice keeps the Payway id for those who know the account by nothing else.
func (e *Erasure) notice(ctx context.Context) error {
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

// release gives up what the account holds although nobody can tell what it is.
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

// last is the account's last event, the zero Event when it has none.
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

// revoke ends the account's credentials. It looks for them after the account's
// end, since when none can be issued any more.
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
			// In a log that was put back, nobody can tell any more whose the
			// credentials are whose keys were destroyed: they have no kind.
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

// streams are those whose keys are destroyed.
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

func (e *Erasure) forget(ctx context.Context) error {
	e.Folder.Store.Forget(e.streams()...)
	e.Folder.Model.Forget(e.Account, e.credentials...)
	e.Folder.Past.Forget(e.Account)
	return e.Folder.DeliveryStore.DeleteAccount(ctx, e.Account)
}

// clear removes the letters with codes. Their files are named for events, whose
// types the log keeps in clear.
func (e *Erasure) clear(ctx context.Context) error { return e.Folder.deleteMails(ctx, e.Account) }

func (f *Folder) deleteMails(ctx context.Context, account ulid.ULID) error {
	var letters []ulid.ULID
	for after := uint64(0); ; {
		page, err := f.Log.ReadStream(ctx, events.AccountStream(account), after, PageSize)
		if err != nil {
			return err
		}
		for _, r := range page {
			if after = r.Version; r.Type == events.TypeEmailChangeRequested {
				letters = append(letters, r.ID)
			}
		}
		if len(page) < PageSize {
			return mail.Forget(filepath.Join(f.Path, MailName), letters...)
		}
	}
}

// prove signs what was done. An erasure that was proven keeps its proof, unless it
// had to be done again in a log that was restored.
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

// now is as precise as anybody needs to know.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
