package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"konto/cmd/konto/datafolder"
	"konto/cmd/kontobench/bench"
	"konto/events"
)

// rebuiltASecond is how many events the log has, at least, for each second of a
// measurement when the read model is made anew.
const rebuiltASecond = 60_000

// measureFresh measures a konto that it makes in a scratch folder.
func (b *benching) measureFresh(ctx context.Context, folder string) (err error) {
	b.of, b.report.Accounts = 3+4+2+2, b.Accounts
	if b.report.Store, err = bench.AppendRates(ctx, folder, b.length(), b.measured); err != nil {
		return err
	}
	data := filepath.Join(folder, "data")
	f, err := b.furnish(ctx, data)
	if err != nil {
		return err
	}
	followed, err := b.measureServer(ctx, data, f)
	if err != nil {
		return err
	}
	if err := f.open(ctx, data); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := b.workOut(ctx, f, followed); err != nil {
		return err
	}
	// A rebuild of a log that is read in no time says nothing.
	if err := f.update(ctx, int(rebuiltASecond*b.Seconds)); err != nil {
		return err
	}
	if err := f.caughtUp(ctx); err != nil {
		return err
	}
	h := f.folder
	b.report.Rebuild, err = bench.Rebuilding{Log: h.Log, Store: h.Store, Model: h.Model}.Rates(ctx, b.measured)
	return err
}

// measureServer measures a server, and ends it.
func (b *benching) measureServer(ctx context.Context, data string, f *filling) (followed []*bench.Followed, err error) {
	hooks, err := bench.OpenHooks()
	if err != nil {
		return nil, err
	}
	defer hooks.Close()
	s, err := startBenchServer(ctx, b.program, data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	subject := b.subject(s.address, s.pid(), f.targets())
	if err := s.address.CaughtUp(ctx, patienceAtStart); err != nil {
		return nil, err
	}
	memory := s.pid().Memory()
	if b.report.HTTP, err = subject.HTTP(ctx, b.measured); err != nil {
		return nil, err
	}
	// Only now: the requests above are to be compared with those of others, who tell nobody.
	if err := b.addThirdParty(ctx, data, hooks.URL()); err != nil {
		return nil, err
	}
	if followed, err = subject.Follow(ctx, hooks, b.measured); err != nil {
		return nil, err
	}
	b.report.Memory = s.pid().Memory().After(memory)
	return followed, nil
}

// addThirdParty asks the server, as an operator does.
func (b *benching) addThirdParty(ctx context.Context, data, url string) error {
	add := exec.CommandContext(ctx, b.program, "third-party", "add", "bench", "--url", url, "--data", data)
	add.Env = benchEnvironment()
	var told bytes.Buffer
	add.Stderr = &told
	if err := add.Run(); err != nil {
		return fmt.Errorf("add a third party: %w: %s", err, strings.TrimSpace(told.String()))
	}
	return nil
}

// workOut finds in the log where each acknowledged update is.
func (b *benching) workOut(ctx context.Context, f *filling, followed []*bench.Followed) error {
	type update struct {
		stream  events.Stream
		version uint64
	}
	places := map[update]bench.Place{}
	for after := uint64(0); ; {
		records, err := f.folder.Log.ReadAll(ctx, after, datafolder.PageSize)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			places[update{r.Stream, r.Version}] = bench.Place{Position: r.Position, ID: r.ID}
			after = r.Position
		}
	}
	for _, one := range followed {
		lags, err := one.Lags(func(target int, version uint64) (bench.Place, bool) {
			at, ok := places[update{events.AccountStream(f.owners[target].id), version}]
			return at, ok
		})
		if err != nil {
			return err
		}
		b.report.Lags = append(b.report.Lags, lags)
	}
	return nil
}
