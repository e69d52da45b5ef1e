package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"konto/cmd/kontobench/bench"
	"konto/events"
	"konto/eventstore"
)

// rebuiltASecond is how many events the log has, at least, for each second of a measurement when
// the read model is rebuilt.
const rebuiltASecond = 60_000

// measureFresh measures a konto that it makes in a scratch folder.
func (b *benching) measureFresh(ctx context.Context, folder string) (err error) {
	b.of, b.report.Accounts = 3+4+2+2, b.Accounts
	if b.report.Store, err = bench.AppendRates(ctx, folder, b.length(), b.measured); err != nil {
		return err
	}
	data := filepath.Join(folder, "data")
	f, err := b.makeAccounts(ctx, data, 0)
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
	if err := b.findLags(ctx, f, followed); err != nil {
		return err
	}
	// The rebuild of a short log is too fast to measure.
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
	// The third party is added now, so that no webhooks are sent during the measurement above,
	// whose figures are compared with services that send none.
	if err := b.addThirdParty(ctx, data, hooks.URL()); err != nil {
		return nil, err
	}
	if followed, err = subject.Follow(ctx, hooks, b.measured); err != nil {
		return nil, err
	}
	b.report.Memory = s.pid().Memory().After(memory)
	return followed, nil
}

// addThirdParty adds a third party with konto's own command.
func (b *benching) addThirdParty(ctx context.Context, data, url string) error {
	add := exec.CommandContext(ctx, b.program, "third-party", "add", "bench", "--url", url, "--data", data)
	add.Env = benchEnvironment()
	var stderr bytes.Buffer
	add.Stderr = &stderr
	if err := add.Run(); err != nil {
		return fmt.Errorf("add a third party: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// findLags finds each acknowledged update in the log, and works out how late it was known.
func (b *benching) findLags(ctx context.Context, f *filling, followed []*bench.Followed) error {
	type update struct {
		stream  events.Stream
		version uint64
	}
	places := map[update]bench.Place{}
	if _, err := bench.Scan(ctx, f.folder.Log, func(r eventstore.Record) error {
		places[update{r.Stream, r.Version}] = bench.Place{Position: r.Position, ID: r.ID}
		return nil
	}); err != nil {
		return err
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
