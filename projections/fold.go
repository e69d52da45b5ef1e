package projections

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// fold folds events in one transaction. However often an account occurs among them,
// its row is read once and written once.
type fold struct {
	model       *ReadModel
	tx          *sql.Tx
	position    uint64                        // of the last event that was folded
	event       ulid.ULID                     // its id
	accounts    map[ulid.ULID]*events.Account // pointers, because to copy an account (1 kB) takes longer than to fold an event
	credentials map[ulid.ULID]events.Credential
	sessions    map[ulid.ULID][]ulid.ULID // that were opened, by the account that they act for and by the one that delegated them
	// closings is set if one stream is folded after the other, into an empty file: by account,
	// when sessions were closed.
	closings map[ulid.ULID][]closing

	thirdParties map[ulid.ULID]events.ThirdParty
	removed      []ulid.ULID // the third parties that were removed
}

// Apply implements Projection. Events of streams of other categories only move
// the position.
func (m *ReadModel) Apply(ctx context.Context, batch []events.Event) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	m.exchange.RLock()
	defer m.exchange.RUnlock()
	f, err := m.update(ctx, func(ctx context.Context, f *fold) error {
		for _, e := range batch {
			if err := f.takeIn(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		if f != nil {
			// The transaction may have been committed all the same. The file decides.
			m.accounts.evict(slices.Collect(maps.Keys(f.accounts))...)
			m.credentials.evict(slices.Collect(maps.Keys(f.credentials))...)
		}
		return m.wrap("update", err)
	}
	// The caches are updated before Apply returns: a caller that is told that a
	// position was reached must not be served a row from before it.
	m.accounts.commit(f.accounts)
	// A revoked credential is not cached, because its key may be destroyed next. AccountErased
	// leaves nothing to evict of an account.
	var revoked []ulid.ULID
	for id, c := range f.credentials {
		if !c.Revoked.IsZero() {
			revoked = append(revoked, id)
		}
	}
	m.credentials.commit(f.credentials)
	m.credentials.evict(revoked...)
	return nil
}

// update folds events in one transaction. When it returns a fold and an error, it
// is not known whether the transaction was committed.
func (m *ReadModel) update(ctx context.Context, fill func(context.Context, *fold) error) (*fold, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The transaction runs to its end: for a context that may be cancelled the driver
	// would start a goroutine for each statement.
	uncancelled := context.WithoutCancel(ctx)
	tx, err := m.file.writer.BeginTx(uncancelled, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	f, err := newFold(uncancelled, m, tx)
	if err != nil {
		return nil, err
	}
	if err := fill(uncancelled, f); err != nil {
		return nil, err
	}
	if err := f.write(uncancelled); err != nil {
		return nil, err
	}
	return f, tx.Commit()
}

// newFold begins where the file is.
func newFold(ctx context.Context, model *ReadModel, tx *sql.Tx) (*fold, error) {
	f := &fold{
		model: model, tx: tx,
		accounts:     make(map[ulid.ULID]*events.Account),
		credentials:  make(map[ulid.ULID]events.Credential),
		sessions:     make(map[ulid.ULID][]ulid.ULID),
		thirdParties: make(map[ulid.ULID]events.ThirdParty),
	}
	return f, tx.QueryRowContext(ctx, "SELECT position, event FROM progress").Scan(&f.position, &f.event)
}

// takeIn folds the next event, unless it was folded before.
func (f *fold) takeIn(ctx context.Context, e events.Event) error {
	if e.Position <= f.position {
		return nil
	}
	if err := f.add(ctx, e); err != nil {
		return err
	}
	f.position, f.event = e.Position, e.ID
	return nil
}

// takeInPage folds the next events.
func (f *fold) takeInPage(ctx context.Context, page []events.Event) error {
	for _, e := range page {
		if err := f.takeIn(ctx, e); err != nil {
			return &eventstore.EventError{Type: e.Type, Position: e.Position, Err: err}
		}
	}
	return nil
}

func (f *fold) add(ctx context.Context, e events.Event) error {
	category, owner, err := e.Stream.Split()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOutOfStep, err)
	}
	switch category {
	case events.CategoryAccount:
		return f.addToAccount(ctx, owner, e)
	case events.CategoryCredential:
		return f.addToCredential(ctx, owner, e)
	case events.CategoryThirdParty:
		return f.addToThirdParty(ctx, owner, e)
	}
	return nil
}

func (f *fold) addToAccount(ctx context.Context, id ulid.ULID, e events.Event) (err error) {
	a, ok := f.accounts[id]
	switch {
	case ok:
	case f.closings != nil:
		a = &events.Account{}
		f.accounts[id] = a
	default:
		if a, err = f.account(ctx, id); err != nil {
			return err
		}
		f.accounts[id] = a
	}
	payload, err := next(e, a.Version)
	if err != nil {
		return err
	}
	if a.Apply(e, payload); a.Version != e.Version {
		return misplaced(e)
	}
	changed, ok := payload.(events.PasswordChanged)
	switch {
	case ok && f.closings != nil:
		f.closings[id] = append(f.closings[id], closing{e.Position, e.Time, changed.Session})
	case ok:
		return f.closeSessions(ctx, id, changed.Session, e.Time)
	}
	return nil
}

// account returns a copy of an account as it was committed.
func (f *fold) account(ctx context.Context, id ulid.ULID) (*events.Account, error) {
	// The cache holds what was committed last: nobody else commits meanwhile.
	if committed, ok, _ := f.model.accounts.get(id); ok {
		a := *committed
		return &a, nil
	}
	a, _, err := f.model.readAccount(ctx, f.tx.QueryRowContext(ctx, accountQuery, id[:]))
	return &a, err
}

func (f *fold) addToCredential(ctx context.Context, id ulid.ULID, e events.Event) error {
	c, err := f.credential(ctx, id)
	if err != nil {
		return err
	}
	payload, err := next(e, c.Version)
	if err != nil {
		return err
	}
	if c.Apply(e, payload); c.Version != e.Version {
		return misplaced(e)
	}
	f.credentials[id] = c
	opened, ok := payload.(events.SessionOpened)
	switch {
	case ok && f.closings != nil:
		c.Revoked = f.closedAt(opened, id, e.Position)
		f.credentials[id] = c
	case ok:
		f.sessions[opened.Account] = append(f.sessions[opened.Account], id)
		f.sessions[opened.Parent] = append(f.sessions[opened.Parent], id)
	}
	return nil
}

// credential returns a credential as of the events that were folded so far.
func (f *fold) credential(ctx context.Context, id ulid.ULID) (c events.Credential, err error) {
	c, ok := f.credentials[id]
	if !ok {
		c, ok, _ = f.model.credentials.get(id)
	}
	if !ok && f.closings == nil {
		c, _, err = f.model.readCredential(ctx, f.tx.QueryRowContext(ctx, credentialQuery, id[:]))
	}
	return c, err
}

// next decodes an event that must follow a version of its stream.
func next(e events.Event, version uint64) (events.Payload, error) {
	if e.Version != version+1 {
		return nil, fmt.Errorf("%w: %s is at version %d here and %d comes next", ErrOutOfStep, e.Stream, version, e.Version)
	}
	return e.Payload()
}

// misplaced returns the error for an event that a stream of its category cannot hold.
func misplaced(e events.Event) error {
	return fmt.Errorf("%w: it does not belong in %s", ErrOutOfStep, e.Stream)
}

// write stores the changed rows and the position.
func (f *fold) write(ctx context.Context) error {
	if err := f.writeRows(ctx); err != nil {
		return err
	}
	_, err := f.tx.ExecContext(ctx, "UPDATE progress SET position = ?, event = ?", f.position, f.event[:])
	return err
}

func (f *fold) writeRows(ctx context.Context) error {
	if err := f.writeAccounts(ctx); err != nil {
		return err
	}
	if err := f.writeCredentials(ctx); err != nil {
		return err
	}
	return f.writeThirdParties(ctx)
}

func (f *fold) writeAccounts(ctx context.Context) error {
	if len(f.accounts) == 0 {
		return nil
	}
	put, err := f.tx.PrepareContext(ctx, `INSERT INTO account (`+accountColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET erased = excluded.erased, version = excluded.version, position = excluded.position,
			opened = excluded.opened, updated = excluded.updated, content = excluded.content`)
	if err != nil {
		return err
	}
	defer put.Close()
	for _, id := range slices.SortedFunc(maps.Keys(f.accounts), ulid.ULID.Compare) { // in the order of the index
		a := f.accounts[id]
		content, err := f.model.sealAccount(ctx, id, a)
		if err != nil {
			return err
		}
		r := newAccountRow(*a)
		if _, err := put.ExecContext(ctx, id[:], r.Erased, r.Version, r.Position, r.Opened, r.Updated, content); err != nil {
			return err
		}
	}
	return nil
}

func (f *fold) writeCredentials(ctx context.Context) error {
	if len(f.credentials) == 0 {
		return nil
	}
	put, err := f.tx.PrepareContext(ctx, `INSERT INTO credential (`+credentialColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, issued = excluded.issued, revoked = excluded.revoked, consumer = excluded.consumer, account = excluded.account, parent = excluded.parent, content = excluded.content`)
	if err != nil {
		return err
	}
	defer put.Close()
	for _, id := range slices.SortedFunc(maps.Keys(f.credentials), ulid.ULID.Compare) {
		c := f.credentials[id]
		content, err := f.model.sealCredential(ctx, id, &c)
		if err != nil {
			return err
		}
		r := newCredentialRow(c)
		if _, err := put.ExecContext(ctx, id[:], r.Version, r.Issued, r.Revoked, r.Consumer, r.Account, r.Parent, content); err != nil {
			return err
		}
		f.credentials[id] = c
	}
	return nil
}
