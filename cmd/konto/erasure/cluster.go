package erasure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/eventstore/postgres"
	"konto/projections"
)

// This file is what an erasure does on a cluster and not on a single machine. Each node deletes
// what it has in memory and in its own folder, in its own follower. The node that has the lease
// does the rest, and waits for the others before it signs the proof.

// nodeTime is how long the holder of the lease waits for other nodes before it lets go of the
// lease. A node tells every second how far it is. A test changes it.
var nodeTime = 3 * time.Second

const (
	// pause is how long another node gets to take the lease.
	pause = time.Second
	// eraseTime is how long Erase waits for other nodes. One that has stopped is given up within it.
	eraseTime = 2 * time.Minute
)

// errBehind is returned while nodes have not passed the end of an account.
var errBehind = errors.New("the proof waits until other nodes are done")

// Passed returns the lowest position that all followers have passed. Followers that another node
// runs do not count.
func Passed(followers ...*projections.Follower) uint64 {
	lowest := ^uint64(0)
	for _, f := range followers {
		if is := f.Status(); is.State != projections.StateStandby {
			lowest = min(lowest, is.Position)
		}
	}
	return lowest
}

// completeOnCluster completes an erasure, or waits until another node has done so.
func (p *Process) completeOnCluster(ctx context.Context, account ulid.ULID) error {
	work := context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(ctx, eraseTime)
	defer cancel()
	for {
		err := p.complete(work, account)
		if !errors.Is(err, errBehind) && !errors.Is(err, postgres.ErrLeaseLost) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// passedEverywhere waits, for nodeTime at most, until all nodes have passed a position.
func (p *Process) passedEverywhere(ctx context.Context, position uint64) error {
	for deadline := time.Now().Add(nodeTime); ; {
		behind, err := p.Shared.db.PassedBy(ctx, position)
		switch {
		case err != nil || len(behind) == 0:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("%w: %s", errBehind, strings.Join(behind, ", "))
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// forgotten waits until no node has anything of an account in memory: all have passed AccountErased
// and the revocations of its credentials.
func (p *Process) forgotten(ctx context.Context, account ulid.ULID) error {
	if p.Shared == nil {
		return nil
	}
	if done, err := p.IsErased(ctx, account); done || err != nil {
		return err
	}
	credentials, err := p.Model.CredentialsOf(ctx, account)
	if err != nil {
		return err
	}
	streams := []events.Stream{events.AccountStream(account)}
	for _, id := range credentials {
		streams = append(streams, events.CredentialStream(id))
	}
	var last uint64
	for _, stream := range streams {
		head, err := p.Store.StreamHead(ctx, stream)
		if err != nil {
			return err
		}
		last = max(last, head.Position)
	}
	return p.passedEverywhere(ctx, last)
}

// leaveToNodes returns errBehind if nodes run that delete messages, because this process is no
// server.
func (p *Process) leaveToNodes(ctx context.Context) error {
	if p.Shared == nil {
		return nil
	}
	nodes, err := p.Shared.db.Nodes(ctx)
	if err == nil && slices.ContainsFunc(nodes, func(n postgres.Node) bool { return n.Live }) {
		err = fmt.Errorf("%w: they delete messages that name the account", errBehind)
	}
	return err
}

// forgetEnded deletes what this node has of accounts and credentials that have ended, in memory and
// in its own folder, and leaves the rest to Run. It must not wait for the lease: whoever has it
// waits for this node.
func (p *Process) forgetEnded(ctx context.Context, batch []events.Event) error {
	var erased []ulid.ULID
	for _, e := range batch {
		_, id, err := e.Stream.Split()
		switch {
		case err != nil:
		case e.Type == events.TypeAccountErased:
			erased = append(erased, id)
		case e.Type == events.TypeCredentialRevoked:
			p.Keys.Ended(e.Stream)
		}
	}
	return p.forget(ctx, erased)
}

// forgetBegun forgets the accounts whose erasure has begun and is not proven. What their followers
// read before this one begins may be in memory.
func (p *Process) forgetBegun(ctx context.Context) error {
	rows, err := p.Rows.All(ctx)
	if err != nil {
		return err
	}
	maps.DeleteFunc(rows, func(_ ulid.ULID, row Row) bool { return row.Proven })
	return p.forget(ctx, slices.Collect(maps.Keys(rows)))
}

func (p *Process) forget(ctx context.Context, accounts []ulid.ULID) error {
	if len(accounts) == 0 {
		return nil
	}
	for _, account := range accounts {
		p.Shared.note(account)
	}
	// The read model tells whose the credentials are, once it has passed AccountErased.
	if err := p.CatchUp(ctx); err != nil {
		return err
	}
	for _, account := range accounts {
		credentials, err := p.Model.CredentialsOf(ctx, account)
		if err != nil {
			return err
		}
		p.Keys.Ended(events.AccountStream(account))
		for _, id := range credentials {
			p.Keys.Ended(events.CredentialStream(id))
		}
		p.Past.Evict(account)
		// The state that is cached becomes that of an erased account.
		if _, err := p.Accounts.Load(ctx, account); err != nil && !errors.Is(err, commands.ErrNotFound) {
			return err
		}
		if err := p.deleteMails(ctx, account); err != nil {
			return err
		}
	}
	p.mustEnd(accounts...)
	select {
	case p.noticed <- struct{}{}:
	default:
	}
	return nil
}

// mustEnd makes Run see to it that erasures are finished. Those that nobody has begun have no row
// yet.
func (p *Process) mustEnd(accounts ...ulid.ULID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, account := range accounts {
		p.ended[account] = struct{}{}
	}
}

// unfinished returns the accounts given to mustEnd whose erasure is not done yet.
func (p *Process) unfinished(ctx context.Context) (accounts []ulid.ULID, err error) {
	if err := p.Shared.refresh(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	ended := slices.Collect(maps.Keys(p.ended))
	p.mu.Unlock()
	for _, account := range ended {
		done, err := p.IsErased(ctx, account)
		if err != nil {
			return nil, err
		}
		if !done {
			accounts = append(accounts, account)
			continue
		}
		p.mu.Lock()
		delete(p.ended, account)
		p.mu.Unlock()
	}
	return accounts, nil
}
