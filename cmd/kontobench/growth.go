package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"

	"konto/cmd/kontobench/bench"
	"konto/projections/nats"
)

// size is the size of a log.
type size struct{ events, accounts int }

// eventsAnAccount is how many events an account has at least when the log grows. An account is
// opened with fewer, its key included.
const eventsAnAccount = 4

// measureGrowth measures a server whose log grows while the number of accounts stays, then one
// with more and more accounts, which have no more events than they need.
func (b *benching) measureGrowth(ctx context.Context, folder string) error {
	accounts := min(b.Accounts, b.Events[0]/eventsAnAccount)
	var longer, wider []size
	for _, n := range b.Events {
		longer = append(longer, size{events: n, accounts: accounts})
	}
	for _, n := range b.OfAccounts {
		wider = append(wider, size{accounts: n})
	}
	b.of = uint64(2 * (len(longer) + len(wider)))
	for _, sizes := range [][]size{longer, wider} {
		data := filepath.Join(folder, "data")
		if err := b.grow(ctx, data, sizes); err != nil {
			return err
		}
		if err := os.RemoveAll(data); err != nil {
			return err
		}
	}
	return nil
}

// grow measures one folder at each of its sizes.
func (b *benching) grow(ctx context.Context, folder string, sizes []size) error {
	f, err := newFilling(ctx, folder, b.out.Progress)
	if err != nil {
		return err
	}
	// skipPublishing needs a cursor, so something must be published before.
	if err := errors.Join(f.openAccounts(ctx, 1), f.close()); err != nil {
		return err
	}
	s, err := startBenchServer(ctx, b.program, folder)
	if err != nil {
		return err
	}
	if err := errors.Join(s.address.CaughtUp(ctx, patienceAtStart), s.stop()); err != nil {
		return err
	}
	for _, size := range sizes {
		if err := f.growTo(ctx, folder, size); err != nil {
			return err
		}
		grown, err := b.measureGrown(ctx, folder, f)
		if err != nil {
			return err
		}
		b.report.Growth = append(b.report.Growth, grown)
	}
	return nil
}

// growTo fills a folder that a server used before.
func (f *filling) growTo(ctx context.Context, folder string, s size) (err error) {
	if err := f.open(ctx, folder); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.openAccounts(ctx, s.accounts); err != nil {
		return err
	}
	if err := f.update(ctx, s.events); err != nil {
		return err
	}
	if err := f.caughtUp(ctx); err != nil {
		return err
	}
	return f.skipPublishing(ctx)
}

// skipPublishing sets the publisher's cursor to the end of the log. A log of millions of events is
// older than the week that NATS keeps, so no server has to publish all of it at once.
func (f *filling) skipPublishing(ctx context.Context) error {
	const publisher = "publisher" // the cursor's name, see projections/nats
	model := f.folder.Model
	stored, err := model.Cursor(ctx, publisher)
	if err != nil {
		return err
	}
	var cursor nats.Cursor
	if err := json.Unmarshal(stored, &cursor); err != nil {
		return fmt.Errorf("the publisher's cursor: %w", err)
	}
	last, err := f.folder.Log.ReadAll(ctx, f.bulk.last-1, 1)
	if err != nil {
		return err
	}
	if len(last) != 1 {
		return errors.New("the log does not end at the last event that was stored")
	}
	cursor.Position, cursor.Event = last[0].Position, last[0].ID
	if stored, err = json.Marshal(cursor); err != nil {
		return err
	}
	return model.SetCursor(ctx, publisher, stored)
}

// measureGrown starts a server, measures it and ends it.
func (b *benching) measureGrown(ctx context.Context, folder string, f *filling) (g bench.Grown, err error) {
	s, err := startBenchServer(ctx, b.program, folder)
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	file, err := os.Stat(filepath.Join(folder, "log.db"))
	if err != nil {
		return g, err
	}
	g = bench.Grown{
		Events: f.bulk.last, Accounts: len(f.owners), Log: float64(file.Size()) / (1 << 20),
		Start: float64(s.started.Microseconds()) / 1000,
	}
	if err := s.address.CaughtUp(ctx, patienceAtStart); err != nil {
		return g, err
	}
	g.Patch, g.Get, err = b.subject(s.address, s.pid(), f.targets()).Spread(ctx, b.measured)
	g.Memory = s.pid().Memory()
	return g, err
}
