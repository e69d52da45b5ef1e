package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/events"
	"konto/projections/deliveries"
)

func TestErasureHasToBeMeant(t *testing.T) {
	folder := furnished(t)
	refused(t, exitUsage, konto(t, "account", "erase", "anna@example.com", "--data", folder), "an erasure cannot be undone; add --yes")
	must(t, "account", "show", "anna@example.com", "--data", folder)
	for _, ref := range []string{"nobody@example.com", ulid.Make().String()} {
		refused(t, exitFailed, konto(t, "account", "erase", ref, "--yes", "--data", folder), "there is no account "+ref)
	}
	if !datafolder.Missing(filepath.Join(folder, erasure.LedgerName)) {
		t.Error("the ledger has an account that there is not")
	}
}

// leaving is a data folder that nobody holds, with an account to be erased and
// what has to go with it.
type leaving struct {
	t       *testing.T
	folder  string
	id      ulid.ULID
	key     ulid.ULID // the account's key
	letter  string
	session ulid.ULID // that it delegated to another account
}

func newLeaving(t *testing.T) *leaving {
	t.Helper()
	l := &leaving{t: t, folder: t.TempDir()}
	running, url, _ := serve(t, l.folder)
	opened := object(t, kontoOut(t, "correct horse battery staple", "account", "open", "--email", "anna@example.com",
		"--customer-number", "4711", "--password-stdin", "--data", l.folder, "--json"))
	l.id = ulid.MustParse(opened["id"].(string))
	must(t, l.in("account", "open", "--email", "other@example.com")...)
	key := mustJSON(t, l.in("key", "issue", "--account", "anna@example.com", "--scope", "write:account")...)
	l.key = ulid.MustParse(key["id"].(string))
	session := mustJSON(t, l.in("session", "open", "--account", "other@example.com", "--delegated-by", "anna@example.com", "--label", "Bookkeeper")...)
	l.session = ulid.MustParse(session["id"].(string))
	status, body := send(t, "POST", url+"/api/v2/me/actions/change-email", key["token"].(string),
		`{"newEmail":"new@example.com","currentPassword":"correct horse battery staple"}`)
	if status != 200 {
		t.Fatalf("answered %d %s", status, body)
	}
	for l.letter == "" {
		letters, err := filepath.Glob(filepath.Join(l.folder, datafolder.MailName, "*.eml"))
		if err != nil || t.Context().Err() != nil {
			t.Fatal(err)
		}
		if len(letters) == 1 {
			l.letter = letters[0]
		}
	}
	if status := running.stop(); status != exitDone {
		t.Fatalf("ended with %d: %s", status, running.stderr)
	}
	return l
}

func kontoOut(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := kontoWith(t, stdin, args...)
	if r.status != exitDone {
		t.Fatal(r.stderr)
	}
	return r.stdout
}

func (l *leaving) in(args ...string) []string { return append(args, "--data", l.folder) }

func (l *leaving) open() *datafolder.Folder {
	l.t.Helper()
	h, err := datafolder.Open(l.t.Context(), datafolder.Config{Path: l.folder, Holder: "test"})
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

// isGone checks all that the next start has to have done.
func (l *leaving) isGone() {
	l.t.Helper()
	h := l.open()
	if done, err := h.Erasures.IsErased(l.t.Context(), l.id); !done || err != nil {
		l.t.Errorf("it is erased: %v, %v", done, err)
	}
	if known, _ := h.Erasures.Ledger.Of(l.id); known.Proof == "" {
		l.t.Error("the ledger has no proof")
	}
	for _, stream := range []events.Stream{events.AccountStream(l.id), events.CredentialStream(l.key), events.CredentialStream(l.session)} {
		head, err := h.Store.StreamHead(l.t.Context(), stream)
		if err != nil {
			l.t.Fatal(err)
		}
		all, err := h.Store.ReadStream(l.t.Context(), stream, 0, datafolder.PageSize)
		if err != nil || len(all) == 0 || uint64(len(all)) != head.Version {
			l.t.Fatalf("%d events of %s, %v", len(all), stream, err)
		}
		for i, e := range all {
			if ends := i == len(all)-1; e.Shredded == ends || ends == events.Sealed(e.Type) {
				l.t.Errorf("%s: event %d is %s, shredded %v", stream, i+1, e.Type, e.Shredded)
			}
		}
	}
	if err := h.Close(); err != nil {
		l.t.Error(err)
	}
	if !datafolder.Missing(l.letter) {
		l.t.Error("the letter is still there")
	}
	for _, c := range append(mustLines(l.t, l.in("key", "list")...), mustLines(l.t, l.in("session", "list")...)...) {
		if c["revoked"] == nil || c["label"] != nil {
			l.t.Errorf("there is still %v", c)
		}
	}
	refused(l.t, exitFailed, konto(l.t, l.in("account", "show", l.id.String())...), "there is no account")
	must(l.t, l.in("account", "open", "--email", "anna@example.com", "--customer-number", "4711")...)
	must(l.t, l.in("verify")...)
}

// konto may be killed after any step: the next start, whoever starts, goes on.
func TestInterruptedErasureIsFinishedAtTheNextStart(t *testing.T) {
	t.Parallel()
	for last := 1; last <= erasure.Steps; last++ {
		t.Run(fmt.Sprint("after step ", last), func(t *testing.T) {
			l := newLeaving(t)
			h := l.open()
			killed := false
			h.Erasures.After = func(step int) error {
				if killed = killed || step == last; killed {
					return errors.New("konto was killed")
				}
				return nil
			}
			err := h.Follow(t.Context(), func(ctx context.Context) error {
				_, err := h.Erasures.Erase(ctx, l.id, datafolder.Itself())
				return err
			})
			if !killed || err == nil {
				t.Fatalf("killed %v, and erased: %v", killed, err)
			}
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			must(t, l.in("account", "list")...)
			l.isGone()
		})
	}
}

// An erasure that has to be done again, because older keys were restored, is not done because of
// its first proof: here only the account's key is destroyed again, and its credentials' keys are not.
func TestErasureThatIsCutOffWhenDoneAgainIsFinished(t *testing.T) {
	l, yesterday := newLeaving(t), t.TempDir()
	copied(t, l.folder, yesterday, "keys.db")
	first := mustJSON(t, l.in("account", "erase", "anna@example.com", "--yes")...)["proof"].(string)
	copied(t, yesterday, l.folder, "keys.db")
	keys, err := datafolder.MasterOf(l.folder).Open(t.Context(), filepath.Join(l.folder, "keys.db"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := erasure.OpenRows(t.Context(), filepath.Join(l.folder, erasure.RowsName), keys)
	if err == nil {
		err = errors.Join(rows.Put(t.Context(), l.id, erasure.Row{At: time.Now()}),
			keys.Destroy(t.Context(), events.AccountStream(l.id)), rows.Close(), keys.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	l.isGone()
	if again := mustJSON(t, l.in("account", "erase", l.id.String(), "--yes")...)["proof"]; again == first {
		t.Error("it has the proof of the erasure before")
	}
}

// copied copies files of a data folder that nobody holds.
func copied(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever of the past is put back, the ledger of erasures holds.
func TestWhatIsPutBackIsErasedAgain(t *testing.T) {
	for name, files := range map[string][]string{
		"the log": {"log.db"}, "the keys": {"keys.db"}, "log and keys": {"log.db", "keys.db"},
		"all but the ledger": {"log.db", "keys.db", "read.db", "deliveries.db"},
	} {
		t.Run(name, func(t *testing.T) {
			l, yesterday := newLeaving(t), t.TempDir()
			copied(t, l.folder, yesterday, files...)
			first := mustJSON(t, l.in("account", "erase", "anna@example.com", "--yes")...)["proof"].(string)
			copied(t, yesterday, l.folder, files...)
			l.isGone()
			_, url, _ := serve(t, l.folder)
			again := mustJSON(t, l.in("account", "erase", l.id.String(), "--yes")...)["proof"].(string)
			if again == first {
				t.Error("it has the proof of an erasure that was undone")
			}
			verifyProof(t, url, again)
		})
	}
}

// The log knows who was erased, should the ledger be lost together with the keys.
func TestWithoutTheLedgerTheLogTellsWhoWasErased(t *testing.T) {
	for name, lost := range map[string][]string{
		"the ledger": {erasure.LedgerName}, "ledger and read model": {erasure.LedgerName, "read.db"},
	} {
		t.Run(name, func(t *testing.T) {
			l, yesterday := newLeaving(t), t.TempDir()
			copied(t, l.folder, yesterday, "keys.db")
			must(t, l.in("account", "erase", "anna@example.com", "--yes")...)
			copied(t, yesterday, l.folder, "keys.db")
			for _, name := range lost {
				if err := os.Remove(filepath.Join(l.folder, name)); err != nil {
					t.Fatal(err)
				}
			}
			server, _, _ := serve(t, l.folder)
			for _, e := range mustLines(t, l.in("events", "list")...) {
				if its := e["stream"] == string(events.AccountStream(l.id)); its && e["type"] != events.TypeAccountErased && e["shredded"] != true {
					t.Errorf("can be read: %v", e)
				}
			}
			server.stop()
			l.isGone()
		})
	}
}

func TestRestoredBackupBringsNobodyBack(t *testing.T) {
	l := newLeaving(t)
	backup := filepath.Join(t.TempDir(), "backup.db")
	must(t, l.in("backup", backup)...)
	must(t, l.in("account", "erase", "anna@example.com", "--yes")...)
	must(t, l.in("account", "open", "--email", "later@example.com")...)
	must(t, l.in("restore", backup, "--yes")...)
	l.isGone()
	if list := must(t, l.in("account", "list")...); strings.Contains(list, "later@example.com") {
		t.Error("the backup was not restored")
	}
}

// The Payway id outlives the key until it was told.
func TestPaywayHearsOfAnErasureAfterTheKeyIsGone(t *testing.T) {
	folder := t.TempDir()
	e := newEndpoint(t, "payway", always(200))
	e.register(folder, "--format", "payway")
	paywayID := mustJSON(t, "account", "open", "--data", folder, "--email", "anna@example.com")["paywayId"].(string)
	must(t, "account", "erase", "anna@example.com", "--yes", "--data", folder)
	serve(t, folder, "--third-party-allow", "127.0.0.0/8")
	e.untilTaken(1)
	if told := e.got()[0].text; !strings.Contains(told, `"account_erased"`) || !strings.Contains(told, paywayID) {
		t.Errorf("it was told %s", told)
	}
}

func TestErasedAccountLeavesTheDeliveryLog(t *testing.T) {
	n := newNewspaper(t, "https://crm.example.com/")
	n.settle(deliveries.OutcomeDelivered, "thanks")
	other := mustJSON(t, n.in("account", "open", "--email", "eva@example.com")...)["id"].(string)
	must(t, n.in("account", "erase", other, "--yes")...)
	if left := mustLines(t, n.in("third-party", "deliveries")...); len(left) != 1 {
		t.Errorf("another account's erasure left %v", left)
	}
	must(t, n.in("account", "erase", n.anna.String(), "--yes")...)
	if left := mustLines(t, n.in("third-party", "deliveries")...); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}
