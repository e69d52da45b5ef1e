package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/copies"
	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// fixture is an open data folder on which erasures follow the log.
type fixture struct {
	*datafolder.Folder
	t *testing.T
}

// run calls do in a new data folder. The messages of other systems are inbound, and others are
// followers of a server.
func run(t *testing.T, inbound erasure.Inbound, do func(f *fixture), others ...func(*datafolder.Folder) projections.Projection) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	folder, err := datafolder.Open(t.Context(), datafolder.Config{Path: t.TempDir(), Holder: "test", Begin: true, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	var followers []*projections.Follower
	for _, p := range others {
		followers = append(followers, projections.NewFollower(projections.FollowerConfig{Name: "other", Store: folder.Store, Projection: p(folder), Log: log}))
	}
	folder.Erasures.Serve(inbound, followers...)
	err = folder.Follow(t.Context(), func(ctx context.Context) error {
		for _, f := range followers {
			go f.Run(ctx)
		}
		do(&fixture{folder, t})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) open(email string) ulid.ULID {
	f.t.Helper()
	id, err := datafolder.NewID()
	f.must(err)
	_, err = f.Accounts.Do(f.t.Context(), id, events.Metadata{}, commands.Open{Email: email, PaywayID: commands.NewPaywayID()}.WithDefaults())
	f.must(err)
	return id
}

func (f *fixture) row(account ulid.ULID) erasure.Row {
	f.t.Helper()
	row, err := f.Erasures.Rows.Get(f.t.Context(), account)
	f.must(err)
	return row
}

func (f *fixture) isReadable(account ulid.ULID) bool {
	f.t.Helper()
	_, err := f.Keys.Cipher(f.t.Context(), events.AccountStream(account))
	if err != nil && !errors.Is(err, eventstore.ErrDestroyed) {
		f.t.Fatal(err)
	}
	return err == nil
}

// messages are those of other systems.
type messages struct {
	texts []string
	calls int
	err   error // because NATS is away
}

func (m *messages) Delete(_ context.Context, named func([]byte) bool) error {
	m.calls++
	if m.err == nil {
		m.texts = slices.DeleteFunc(m.texts, func(text string) bool { return named([]byte(text)) })
	}
	return m.err
}

func TestRowGoesWhenNobodyNeedsIt(t *testing.T) {
	inbound := &messages{texts: []string{"anna@example.com", "other@example.com"}}
	run(t, inbound, func(f *fixture) {
		account := f.open("anna@example.com")
		done, err := f.Erasures.Erase(t.Context(), account, datafolder.Itself())
		f.must(err)
		rows, err := f.Erasures.Rows.All(t.Context())
		if done.Proof == "" || len(rows) > 0 || len(inbound.texts) != 1 || err != nil {
			t.Errorf("left are %v and %v: %v", rows, inbound.texts, err)
		}
	})
}

// The Payway id stays for a third party that was not told yet, and no longer than noticeLife.
func TestPaywayIDIsKeptUntilItIsTooOld(t *testing.T) {
	run(t, &messages{}, func(f *fixture) {
		_, err := f.ThirdParties.Add(t.Context(), events.Metadata{}, commands.AddThirdParty{Name: "payway", URL: "https://example.com/", Format: events.FormatPayway})
		f.must(err)
		account := f.open("anna@example.com")
		_, err = f.Erasures.Erase(t.Context(), account, datafolder.Itself())
		f.must(err)
		row := f.row(account)
		if id, ok, err := f.Erasures.Rows.Notice(t.Context(), account); !ok || err != nil || len(id) != 24 || len(row.Names) > 0 || !row.Proven {
			t.Fatalf("after the erasure: %+v, %v", row, err)
		}
		for _, age := range []time.Duration{erasure.NoticeLife - time.Minute, erasure.NoticeLife + time.Minute} {
			row.At = time.Now().Add(-age)
			f.must(f.Erasures.Rows.Put(t.Context(), account, row))
			f.must(f.Erasures.Look(t.Context()))
			if kept := f.row(account).PaywayID != ""; kept != (age < erasure.NoticeLife) {
				t.Errorf("after %s it is kept: %v", age, kept)
			}
		}
	})
}

// Erasures whose messages cannot be deleted have no proof, but no key either, and do not hold up
// one another. They are finished when NATS is back.
func TestErasureIsFinishedWhenNATSIsBack(t *testing.T) {
	inbound := &messages{texts: []string{"a0@example.com", "a1@example.com"}, err: errors.New("no NATS")}
	run(t, inbound, func(f *fixture) {
		var accounts []ulid.ULID
		for i := range 2 {
			account := f.open(fmt.Sprintf("a%d@example.com", i))
			accounts = append(accounts, account)
			if _, err := f.Erasures.Erase(t.Context(), account, datafolder.Itself()); !errors.Is(err, inbound.err) {
				t.Errorf("erased: %v", err)
			}
			if done, err := f.Erasures.IsErased(t.Context(), account); done || err != nil || f.isReadable(account) {
				t.Errorf("it is erased: %v, %v, readable %v", done, err, f.isReadable(account))
			}
			if !f.Erasures.NamesErased([]byte("about client_" + strings.ToLower(account.String()))) {
				t.Error("a message of now that names it would be kept")
			}
		}
		// A start, and each look, asks NATS once, however many erasures are not finished: each
		// question takes seconds.
		inbound.calls = 0
		if err := f.Erasures.Reconcile(t.Context()); err != nil || inbound.calls != 1 {
			t.Errorf("reconciled: %v, after %d calls", err, inbound.calls)
		}
		if err := f.Erasures.Look(t.Context()); !errors.Is(err, inbound.err) || inbound.calls != 2 {
			t.Errorf("looked: %v, after %d calls", err, inbound.calls)
		}
		inbound.err = nil
		f.must(f.Erasures.Look(t.Context()))
		for _, account := range accounts {
			if done, err := f.Erasures.IsErased(t.Context(), account); !done || err != nil || len(f.row(account).Names) > 0 {
				t.Errorf("it is erased: %v, %v", done, err)
			}
		}
		if len(inbound.texts) > 0 {
			t.Errorf("left are %v", inbound.texts)
		}
	})
}

// Whoever appends AccountErased, such as another node, the follower does what follows from it.
func TestErasureFollowsFromItsEvent(t *testing.T) {
	run(t, &messages{}, func(f *fixture) {
		account := f.open("anna@example.com")
		before, err := f.Past.AccountAt(t.Context(), account, 1) // and caches it
		if f.must(err); before.Email == "" {
			t.Fatal("the account has no address")
		}
		follower := f.Erasures.Follower
		f.must(follower.WaitFor(t.Context(), 1))
		_, err = f.Accounts.Do(t.Context(), account, events.Metadata{}, commands.Erase{})
		f.must(err)
		f.must(follower.WaitFor(t.Context(), 2))
		if done, err := f.Erasures.IsErased(t.Context(), account); !done || err != nil || f.isReadable(account) {
			t.Errorf("it is erased: %v, %v, readable %v", done, err, f.isReadable(account))
		}
		if past, err := f.Past.AccountAt(t.Context(), account, 1); err != nil || !past.Erased || past.Email != "" {
			t.Errorf("before that it was %+v, %v", past, err)
		}
	})
}

func TestErasureGoesOnAlthoughTheCallerIsGone(t *testing.T) {
	run(t, &messages{}, func(f *fixture) {
		account := f.open("anna@example.com")
		ctx, leave := context.WithCancel(t.Context())
		f.Erasures.After = func(int) error {
			leave()
			return nil
		}
		if done, err := f.Erasures.Erase(ctx, account, datafolder.Itself()); err != nil || done.Proof == "" {
			t.Errorf("erased: %v", err)
		}
	})
}

// A start that cannot finish an erasure goes on, but without the account's key.
func TestErasureThatFailsAtTheStartDestroysTheKey(t *testing.T) {
	for step := 1; step <= 4; step++ {
		run(t, &messages{}, func(f *fixture) {
			account, failed := f.open("anna@example.com"), errors.New("disk full")
			f.Erasures.After = func(ended int) error {
				if ended == step {
					return failed
				}
				return nil
			}
			if _, err := f.Erasures.Erase(t.Context(), account, datafolder.Itself()); !errors.Is(err, failed) || !f.isReadable(account) {
				t.Errorf("step %d: %v", step, err)
			}
			if err := f.Erasures.Reconcile(t.Context()); err != nil || f.isReadable(account) {
				t.Errorf("step %d: reconciled: %v, readable %v", step, err, f.isReadable(account))
			}
		})
	}
}

// A mail is deleted with its account. One that was written while its account was erased is deleted at
// the next start.
func TestMailsOfAnErasedAccountAreDeleted(t *testing.T) {
	run(t, &messages{}, func(f *fixture) {
		account, request := f.open("anna@example.com"), ulid.Make()
		_, err := f.Store.Append(t.Context(), events.AccountStream(account), 1, nil, []events.Event{{
			ID: request, Stream: events.AccountStream(account), Version: 2, Type: events.TypeEmailChangeRequested, Time: time.UnixMilli(1).UTC(), Data: []byte("{}"),
		}})
		f.must(err)
		mail := filepath.Join(f.Path, datafolder.MailName, request.String()+".eml")
		f.must(os.MkdirAll(filepath.Dir(mail), 0o700))
		for when, remove := range []func() error{
			func() error {
				_, err := f.Erasures.Erase(t.Context(), account, datafolder.Itself())
				return err
			},
			func() error { return f.Erasures.Reconcile(t.Context()) },
		} {
			f.must(os.WriteFile(mail, []byte("code"), 0o600))
			if f.must(remove()); !datafolder.Missing(mail) {
				t.Errorf("it is still there after step %d", when)
			}
		}
	})
}

// A copy of the keys and the copy of the ledger beside it name the same erased accounts.
func TestKeysAndLedgerAreCopiedBetweenErasures(t *testing.T) {
	run(t, &messages{}, func(f *fixture) {
		var accounts []ulid.ULID
		for i := range 30 {
			accounts = append(accounts, f.open(fmt.Sprintf("a%d@example.com", i)))
		}
		erased := make(chan error, 1)
		go func() {
			var errs []error
			for _, account := range accounts {
				_, err := f.Erasures.Erase(t.Context(), account, datafolder.Itself())
				errs = append(errs, err)
			}
			erased <- errors.Join(errs...)
		}()
		dir, running := t.TempDir(), true
		for running {
			select {
			case err := <-erased:
				f.must(err)
				running = false
			default:
			}
			made, err := copies.BackupKeys(t.Context(), f.Folder, dir, time.Hour)
			f.must(err)
			keys, err := f.Master.OpenCopy(t.Context(), made.File)
			f.must(err)
			lines, _, err := erasure.ReadLedger(made.Erasures)
			f.must(err)
			for _, account := range accounts {
				_, err := keys.Cipher(t.Context(), events.AccountStream(account))
				listed := slices.ContainsFunc(lines, func(l erasure.Line) bool { return l.Account == account })
				if errors.Is(err, eventstore.ErrDestroyed) != listed {
					t.Errorf("the copied ledger has it: %v, and its copied key: %v", listed, err)
				}
			}
			f.must(keys.Close())
		}
	})
}

// Only a read model that has passed AccountErased has all credentials of the account.
func TestReadModelHasPassedBeforeCredentialsAreRevoked(t *testing.T) {
	run(t, &messages{}, func(f *fixture) {
		account, catchUp, at := f.open("anna@example.com"), f.Erasures.CatchUp, uint64(0)
		f.Erasures.CatchUp = func(ctx context.Context) error {
			err := catchUp(ctx)
			at, _ = f.Model.Position(ctx)
			return err
		}
		f.Erasures.After = func(step int) error {
			if end, err := f.Store.Last(t.Context(), events.AccountStream(account)); step == 3 && (at < end.Position || err != nil) {
				t.Errorf("the read model is at %d, and AccountErased at %d, %v", at, end.Position, err)
			}
			return nil
		}
		_, err := f.Erasures.Erase(t.Context(), account, datafolder.Itself())
		f.must(err)
	})
}

// slow is a projection that comes to an event when the read model has passed it.
type slow struct {
	folder *datafolder.Folder
	passed chan events.Event
}

func (s *slow) Position(context.Context) (uint64, error) { return 0, nil }

func (s *slow) Apply(ctx context.Context, batch []events.Event) error {
	err := s.folder.CatchUp(ctx)
	for _, e := range batch {
		if e.Type == events.TypeAccountErased {
			s.passed <- e
		}
	}
	return err
}

// The keys live until every follower of the server has passed AccountErased.
func TestKeysAreDestroyedWhenAllFollowersHavePassed(t *testing.T) {
	s := &slow{passed: make(chan events.Event, 1)}
	run(t, &messages{}, func(f *fixture) {
		for i := range 20 {
			account, passed := f.open(fmt.Sprintf("a%d@example.com", i)), false
			f.Erasures.After = func(step int) error {
				select {
				case <-s.passed:
					passed = true
				default:
				}
				if step == 3 && (!passed || !f.isReadable(account)) {
					t.Errorf("after step 3 the other follower has passed: %v", passed)
				}
				return nil
			}
			_, err := f.Erasures.Erase(t.Context(), account, datafolder.Itself())
			f.must(err)
		}
	}, func(f *datafolder.Folder) projections.Projection {
		s.folder = f
		return s
	})
}
