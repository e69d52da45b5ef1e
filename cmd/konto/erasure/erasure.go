package erasure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections/deliveries"
	"konto/projections/mail"
	"konto/projections/webhook"
)

// Steps is how many steps an erasure has. Each looks at what is there, so it may be repeated.
const Steps = 9

// noticeLife is how long a Payway id is kept for third parties that were not sent the erasure. The
// default retry schedule takes 75 hours.
const noticeLife = 80 * time.Hour

// Erase erases an account, and waits until Follower, which must run, has done that. Error:
// commands.ErrNotFound. After any other error it must be called again; Run and the next start do
// so too.
func (p *Process) Erase(ctx context.Context, account ulid.ULID, meta events.Metadata) (Line, error) {
	if err := p.mustBeKnown(ctx, account); err != nil {
		return Line{}, err
	}
	// An erasure that has begun goes on although the caller is gone: half an erasure helps nobody.
	caller, ctx := ctx, context.WithoutCancel(ctx)
	var end uint64
	err := p.Alone(ctx, func(ctx context.Context) (err error) {
		end, err = p.begin(ctx, account, meta)
		return err
	})
	switch {
	case err != nil:
	case p.Shared != nil:
		err = p.completeOnCluster(caller, account)
	default:
		if err = p.Follower.WaitUnlessRetrying(ctx, end); err == nil {
			// Nothing is left to do, unless the follower failed or the log does not know the
			// account.
			err = p.complete(ctx, account)
		}
	}
	if err != nil {
		return Line{}, fmt.Errorf("the erasure is not finished, repeat it or restart konto: %w", err)
	}
	done, _ := p.Ledger.Of(account)
	return done, nil
}

// mustBeKnown refuses an account that neither the log nor the keys know. A log that was replaced,
// or a backup, may have an account of which only the keys know; its key is then destroyed.
func (p *Process) mustBeKnown(ctx context.Context, account ulid.ULID) error {
	stream := events.AccountStream(account)
	head, err := p.Store.StreamHead(ctx, stream)
	if err != nil || head.Version > 0 {
		return err
	}
	if _, err := p.Keys.Cipher(ctx, stream); errors.Is(err, eventstore.ErrNoKey) {
		return commands.ErrNotFound
	}
	return nil // another error occurs again when the key is destroyed
}

// begin records that an account is to be erased, and ends it in the log. It returns the position
// of AccountErased, 0 if the log does not know the account or the erasure is done. Alone calls the
// caller.
func (p *Process) begin(ctx context.Context, account ulid.ULID, meta events.Metadata) (end uint64, err error) {
	if done, err := p.IsErased(ctx, account); done || err != nil {
		return 0, err
	}
	if err := p.Ledger.Whole(); err != nil {
		return 0, fmt.Errorf("%s: %w", LedgerName, err)
	}
	// 1. Record what must be done, and what is needed for that once nothing of the account can be
	// read. If konto crashes before this, nothing has happened. From here on the next start
	// finishes the erasure, because the row is not marked as proven.
	if err := p.after(1, p.record(ctx, account)); err != nil {
		return 0, err
	}
	// 2. Append AccountErased. It releases the account's claims and deletes its receipts. No
	// command is accepted any more, and no credential is issued. If konto crashes here or in step 3
	// or 4, the account is ended and its data can still be read. The next start finds the row.
	last, err := p.Store.Last(ctx, events.AccountStream(account))
	if err == nil && last.Shredded {
		err = p.releaseClaims(ctx, account, last.Version)
	}
	if err != nil {
		return 0, err
	}
	if _, err := p.Accounts.Do(ctx, account, meta, commands.Erase{}); err != nil && !errors.Is(err, commands.ErrNotFound) {
		return 0, err
	}
	last, err = p.Store.Last(ctx, events.AccountStream(account))
	return last.Position, p.after(2, err)
}

// complete erases accounts from wherever their erasures stand. One that fails does not hold up the
// others. What may take seconds while NATS is away is done once for all.
func (p *Process) complete(ctx context.Context, accounts ...ulid.ULID) error {
	return p.Alone(ctx, func(ctx context.Context) error { return p.erase(ctx, accounts) })
}

func (p *Process) erase(ctx context.Context, accounts []ulid.ULID) error {
	left, failed, err := p.shred(ctx, accounts, p.passed)
	if err == nil {
		err = p.attest(ctx, left)
	}
	return errors.Join(failed, err)
}

// each returns the accounts for which do returned no error, and the errors of the others.
func each(accounts []ulid.ULID, do func(account ulid.ULID) error) (left []ulid.ULID, failed error) {
	for _, account := range accounts {
		if err := do(account); err != nil {
			failed = errors.Join(failed, err)
		} else {
			left = append(left, account)
		}
	}
	return left, failed
}

// shred does steps 1 to 6. passed waits for the followers. It returns the accounts that got there
// and the errors of the others, or the error that keeps all of them from it.
func (p *Process) shred(ctx context.Context, accounts []ulid.ULID, passed func(ctx context.Context, position uint64) error) (left []ulid.ULID, failed, err error) {
	var last uint64 // AccountErased; 0 if the log has none, or all erasures are done
	left, failed = each(accounts, func(account ulid.ULID) error {
		end, err := p.begin(ctx, account, itself())
		last = max(last, end)
		return err
	})
	if last > 0 {
		// 3. Wait until every follower has passed AccountErased, and has deleted its own data: rows,
		// caches, messages in NATS.
		if err := p.after(3, passed(ctx, last)); err != nil {
			return nil, failed, err
		}
	}
	left, more := each(left, func(account ulid.ULID) error { return p.destroy(ctx, account) })
	return left, errors.Join(failed, more), nil
}

// attest does steps 7 to 9.
func (p *Process) attest(ctx context.Context, accounts []ulid.ULID) error {
	// 7. Delete messages of other systems that name the accounts: no fact is recorded any more. If
	// NATS is away, this fails, and konto tries until it is back. Without a server, the next server
	// does it. If konto crashes here, the names that are still in the rows are used again.
	if err := p.after(7, p.deleteMessages(ctx)); err != nil {
		return err
	}
	accounts, failed := each(accounts, func(account ulid.ULID) error { return p.forgotten(ctx, account) })
	_, err := each(accounts, func(account ulid.ULID) error {
		// 8. Sign the proof and add it to the ledger. If konto crashes here, the next start makes
		// another proof of the same erasure, which is as good.
		if err := p.after(8, p.prove(ctx, account)); err != nil {
			return err
		}
		// 9. Mark the row as proven and delete what is no longer needed of it. Run deletes the rest.
		return p.after(9, p.release(ctx, account))
	})
	return errors.Join(failed, err)
}

// destroy destroys an account's keys, and its data that is not in the log, unless that was done.
func (p *Process) destroy(ctx context.Context, account ulid.ULID) error {
	if done, err := p.IsErased(ctx, account); done || err != nil {
		return err
	}
	// 4. Revoke the account's credentials. The read model has all, and none is issued any more.
	keys, err := p.revoke(ctx, account)
	if err := p.after(4, err); err != nil {
		return err
	}
	// 5. Destroy the keys of the account and its credentials, in one transaction. A node that has
	// lost its lease and does not know it may do this beside the node that has it: the account has
	// ended, and a key that is destroyed stays so. The same holds for what step 6 deletes. From
	// here on nothing of the account can be read in any copy of the log. The tombstone that takes
	// the key's place is the one truth of "this account is erased". If konto crashes here or in
	// step 6, the next start finds the row.
	if err := p.after(5, p.Keys.Destroy(ctx, keys...)); err != nil {
		return err
	}
	// 6. Delete what has no position in the log of its own, so that this follower does it: past
	// states, the delivery log, mails with codes.
	p.Past.Evict(account)
	return p.after(6, errors.Join(p.Deliveries.DeleteAccount(ctx, account), p.deleteMails(ctx, account)))
}

// record stores the account's row: what others call it, by its ids in lower case and all addresses
// that it ever had or asked for, and its Payway id. If its key is destroyed already, the row keeps
// what was recorded before.
func (p *Process) record(ctx context.Context, account ulid.ULID) error {
	row, err := p.Rows.Get(ctx, account)
	if err != nil {
		return err
	}
	if row.Proven = false; row.At.IsZero() {
		row.At = now()
	}
	row.Names = append(row.Names, strings.ToLower(account.String()))
	for e, err := range p.Store.Events(ctx, events.AccountStream(account), 0, math.MaxUint64) {
		if err != nil {
			return err
		}
		payload, _ := e.Payload() // without that of a newer konto's event, the others tell enough
		switch is := payload.(type) {
		case events.AccountOpened:
			row.At, row.PaywayID = now(), is.PaywayID
			row.Names = append(row.Names, is.Email, strings.ToLower(is.PaywayID))
		case events.EmailChanged:
			row.Names = append(row.Names, is.NewEmail)
		case events.EmailChangeRequested:
			row.Names = append(row.Names, is.NewEmail)
		}
	}
	slices.Sort(row.Names)
	row.Names = slices.DeleteFunc(slices.Compact(row.Names), func(name string) bool { return name == "" })
	err = p.Rows.Put(ctx, account, row)
	if err == nil {
		p.Ledger.begin(account)
	}
	return err
}

// releaseClaims releases the claims of an account although nobody can read which they are. That
// happens after an older log was restored.
func (p *Process) releaseClaims(ctx context.Context, account ulid.ULID, version uint64) error {
	var held []eventstore.ClaimKey
	for claim, err := range p.Store.AllClaims(ctx) {
		if err != nil {
			return err
		}
		if claim.Stream == events.AccountStream(account) {
			held = append(held, claim.Key)
		}
	}
	if len(held) == 0 {
		return nil
	}
	return p.Store.Release(ctx, events.AccountStream(account), version, held...)
}

// revoke revokes the account's credentials, in the name of who erased it. It returns the streams
// whose keys are to be destroyed.
func (p *Process) revoke(ctx context.Context, account ulid.ULID) ([]events.Stream, error) {
	keys := []events.Stream{events.AccountStream(account)}
	end, err := p.Store.Last(ctx, keys[0])
	if err != nil {
		return nil, err
	}
	credentials, err := p.Model.CredentialsOf(ctx, account)
	if err != nil {
		return nil, err
	}
	for _, id := range credentials {
		if _, err := p.Credentials.Revoke(ctx, end.Metadata, id); err != nil {
			return nil, err
		}
		keys = append(keys, events.CredentialStream(id))
	}
	return keys, p.CatchUp(ctx) // so that none is in a cache when its key is gone
}

// deleteMails deletes the mails with codes. Their files are named for events, whose types the log
// keeps in clear.
func (p *Process) deleteMails(ctx context.Context, account ulid.ULID) error {
	var mails []ulid.ULID
	for e, err := range p.Store.Events(ctx, events.AccountStream(account), 0, math.MaxUint64) {
		if err != nil {
			return err
		}
		if e.Type == events.TypeEmailChangeRequested {
			mails = append(mails, e.ID)
		}
	}
	return mail.Delete(p.Mails, mails...)
}

// prove signs what was done, unless the ledger has the proof.
func (p *Process) prove(ctx context.Context, account ulid.ULID) error {
	if done, err := p.IsErased(ctx, account); done || err != nil {
		return err
	}
	end, err := p.Store.Last(ctx, events.AccountStream(account))
	if err != nil {
		return err
	}
	credentials, err := p.Model.CredentialsOf(ctx, account)
	if err != nil {
		return err
	}
	at := now()
	proof, err := webhook.ErasureProof{
		Account: account, Event: end.ID, Position: end.Position, Keys: 1 + len(credentials), At: at,
	}.Sign(webhook.TokenKey(p.Keys.Derive))
	if err == nil {
		err = p.Ledger.add(ctx, Line{Account: account, Erased: at, Proof: proof})
	}
	if err != nil {
		return fmt.Errorf("everything is erased, but the proof is not in %s: %w", LedgerName, err)
	}
	return nil
}

// release marks the row of an erased account as proven, and deletes of it what is no longer needed:
// the Payway id, if every third party that knows the account by nothing else was sent the erasure.
func (p *Process) release(ctx context.Context, account ulid.ULID) error {
	row, err := p.Rows.Get(ctx, account)
	if err != nil {
		return err
	}
	end, err1 := p.Store.StreamHead(ctx, events.AccountStream(account))
	parties, err2 := p.Model.ThirdParties(ctx)
	owed, err3 := deliveries.OwesErasure(ctx, p.Deliveries, parties, account, end)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	needed := row.PaywayID != "" && owed && time.Since(row.At) <= noticeLife
	switch {
	case !needed && len(row.Names) == 0:
		return p.Rows.Delete(ctx, account)
	case !needed:
		row.PaywayID = ""
	case row.Proven:
		return nil
	}
	row.Proven = true
	return p.Rows.Put(ctx, account, row)
}

// IsErased reports whether an erasure is done: the key has a tombstone, the log does not know the
// account or its last event is AccountErased, and the ledger has the proof. Of an erasure that has
// begun again, the ledger counts no proof.
func (p *Process) IsErased(ctx context.Context, account ulid.ULID) (bool, error) {
	known, _ := p.Ledger.Of(account)
	_, err := p.Keys.Cipher(ctx, events.AccountStream(account))
	if known.Proof == "" || !errors.Is(err, eventstore.ErrDestroyed) {
		return false, nil // another error occurs again when the key is destroyed
	}
	last, err := p.Store.Last(ctx, events.AccountStream(account))
	return err == nil && (last.Version == 0 || last.Type == events.TypeAccountErased), err
}

// after returns the error of a step, or what a test makes of its end.
func (p *Process) after(step int, err error) error {
	if err != nil || p.After == nil {
		return err
	}
	return p.After(step)
}

// itself returns the metadata of an event that konto itself caused.
func itself() events.Metadata { return events.Metadata{Actor: events.Actor{Kind: "konto"}} }

// now returns the time to the second, which is precise enough.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
