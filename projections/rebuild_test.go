package projections

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
)

// fillSample fills a log with all that the read model knows of, has it folded, and
// returns some of the accounts.
func fillSample(h *fixture) []ulid.ULID {
	h.t.Helper()
	var ids []ulid.ULID
	for i := range 40 {
		ids = append(ids, h.openAccount(fmt.Sprintf("a%d@example.com", i)))
	}
	for round := range uint64(30) { // the accounts take turns
		for i, id := range ids {
			h.append(events.AccountStream(id), 1+round, named(fmt.Sprintf("%d of %d", round, i)))
		}
	}
	session := func(account, parent ulid.ULID) ulid.ULID {
		id := ulid.Make()
		h.append(events.CredentialStream(id), 0, events.SessionOpened{Account: account, Parent: parent, AuthType: "session", SecretHash: []byte("x")})
		return id
	}
	var sessions []ulid.ULID
	for _, id := range ids[:9] {
		sessions = append(sessions, session(id, ulid.ULID{}), session(id, ulid.ULID{}), session(ids[20], id))
		h.append(events.AccountStream(id), 31, events.PasswordChanged{Hash: "x", Session: sessions[len(sessions)-2]})
		session(id, ulid.ULID{}) // after the password, so it stays open
	}
	h.append(events.CredentialStream(sessions[0]), 1, events.CredentialRevoked{})
	h.issueKey(events.KeyIssued{Consumer: "billing"})
	gone, _ := h.issueKey(events.KeyIssued{Consumer: "billing"})
	h.append(events.CredentialStream(gone), 1, events.CredentialRevoked{})
	for i := range 3 {
		id := ulid.Make()
		h.append(events.ThirdPartyStream(id), 0, events.ThirdPartyAdded{Name: fmt.Sprint("crm", i), URL: "https://crm.example.com/"})
		if i == 0 {
			h.append(events.ThirdPartyStream(id), 1, events.ThirdPartyRemoved{})
		}
	}
	h.append(events.AccountStream(ids[10]), 31, events.AccountErased{})
	h.must(h.model.Apply(h.t.Context(), h.all(0)))
	h.must(h.keys.Destroy(h.t.Context(), events.AccountStream(ids[10]), events.AccountStream(ids[11]), events.CredentialStream(sessions[3]), events.CredentialStream(sessions[5])))
	return ids
}

func (h *fixture) rebuilt(cfg RebuildConfig) Rebuilt {
	h.t.Helper()
	done, err := h.model.Rebuild(h.t.Context(), cfg)
	h.must(err)
	return done
}

// files lists the files of the folder that belong to read.db.
func (h *fixture) files() (names []string) {
	h.t.Helper()
	all, err := os.ReadDir(h.dir)
	h.must(err)
	for _, f := range all {
		if strings.HasPrefix(f.Name(), "read.db") && !strings.HasSuffix(f.Name(), "-wal") && !strings.HasSuffix(f.Name(), "-shm") {
			names = append(names, f.Name())
		}
	}
	return names
}

func (h *fixture) onlyReadDB() {
	h.t.Helper()
	if files := h.files(); !slices.Equal(files, []string{"read.db"}) {
		h.t.Errorf("left are %v", files)
	}
}

// dump is everything in the file, in a form that can be compared.
func (h *fixture) dump() string {
	h.t.Helper()
	var all strings.Builder
	for _, category := range []string{events.CategoryAccount, events.CategoryCredential, events.CategoryThirdParty} {
		_, rows, err := h.model.StoredRows(h.t.Context(), category, ulid.ULID{}, 1<<20)
		h.must(err)
		for _, row := range rows {
			h.must(row.Err)
			fmt.Fprintln(&all, category, row.ID, row.Text)
		}
	}
	return all.String()
}

func TestRebuildGivesWhatTheFollowerGave(t *testing.T) {
	h := newFixture(t)
	fillSample(h)
	before, old := h.dump(), h.opened()
	done := h.rebuilt(RebuildConfig{})
	if done.Different() != 0 || !done.Exchanged || done.Position != h.position() || done.Events != done.Position {
		t.Errorf("%+v", done)
	}
	if h.dump() != before {
		t.Error("the rebuilt file says something else")
	}
	if os.SameFile(old, h.opened()) {
		t.Error("the old file is still in use")
	}
	h.onlyReadDB()
	h.must(h.model.Close())
	h.openModel()
	if h.dump() != before || h.position() != done.Position {
		t.Error("the rebuilt file says something else once it is opened again")
	}
}

// A pass closes the sessions that it folds, when the password of an account changes that
// another pass folds.
func TestRebuildOfPagesThatEndAnywhereGivesTheSame(t *testing.T) {
	for _, size := range []int{1, 2, 7, rebuildPage} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			h := newFixture(t)
			fillSample(h)
			before := h.dump()
			h.model.log = smallPages{h.log, size}
			done := h.rebuilt(RebuildConfig{})
			if done.Different() != 0 || done.Events != h.position() {
				t.Errorf("%+v", done)
			}
			if h.dump() != before {
				t.Error("the rebuilt file says something else")
			}
		})
	}
}

// smallPages is a log whose pages have so many records at most.
type smallPages struct {
	eventstore.Log
	size int
}

func (l smallPages) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	return l.Log.ByStream(ctx, stream, after, min(limit, l.size))
}

// without is a log that lost the events of a stream for which lost returns true.
type without struct {
	eventstore.Log
	stream events.Stream
	lost   func(eventstore.Record) bool
}

func (l without) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	records, err := l.Log.ByStream(ctx, stream, after, limit)
	return slices.DeleteFunc(records, func(r eventstore.Record) bool { return r.Stream == l.stream && l.lost(r) }), err
}

func TestRebuildEndsIfTheLogHasLostEvents(t *testing.T) {
	for name, lost := range map[string]func(eventstore.Record) bool{
		"the first": func(r eventstore.Record) bool { return r.Version == 1 },
		"all":       func(eventstore.Record) bool { return true },
	} {
		h := newFixture(t)
		ids := fillSample(h)
		h.model.log = without{h.log, events.AccountStream(ids[30]), lost}
		if _, err := h.model.Rebuild(t.Context(), RebuildConfig{}); !errors.Is(err, ErrOutOfStep) {
			t.Errorf("%s: ended with %v", name, err)
		}
		h.onlyReadDB()
	}
}

// unreadable is a log that can be read by stream only up to some page.
type unreadable struct {
	eventstore.Log
	pages int
	err   error
}

func (l *unreadable) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	if l.pages--; l.pages < 0 {
		return nil, l.err
	}
	return l.Log.ByStream(ctx, stream, after, min(limit, 7))
}

func TestRebuildEndsWithTheErrorOfTheLog(t *testing.T) {
	h := newFixture(t)
	fillSample(h)
	broken := errors.New("the disk is broken")
	for pages := range 20 {
		h.model.log = &unreadable{h.log, pages, broken}
		if _, err := h.model.Rebuild(t.Context(), RebuildConfig{}); !errors.Is(err, broken) {
			t.Errorf("after %d pages it ended with %v", pages, err)
		}
		h.onlyReadDB()
	}
}

// opened tells one file of a name from another.
func (h *fixture) opened() os.FileInfo {
	h.t.Helper()
	info, err := os.Stat(h.path())
	h.must(err)
	return info
}

func TestWrongRowsAreReportedAndRepaired(t *testing.T) {
	h := newFixture(t)
	ids := fillSample(h)
	before := h.dump()
	spoil := []string{
		"UPDATE account SET content = (SELECT content FROM account WHERE id = x'" + hexOf(ids[1]) + "') WHERE id = x'" + hexOf(ids[0]) + "'",
		"UPDATE account SET version = 7 WHERE id = x'" + hexOf(ids[2]) + "'",
		"UPDATE account SET version = 'seven' WHERE id = x'" + hexOf(ids[3]) + "'",
		"UPDATE account SET erased = 1 WHERE id = x'" + hexOf(ids[4]) + "'",
		"DELETE FROM account WHERE id = x'" + hexOf(ids[5]) + "'",
		"INSERT INTO account SELECT x'000102030405060708090a0b0c0d0e0f', erased, version, position, opened, updated, content FROM account LIMIT 1",
		"UPDATE credential SET revoked = 0, account = x'" + hexOf(ids[20]) + "' WHERE revoked <> 0 AND consumer IS NULL AND content <> x''",
		"DELETE FROM third_party WHERE content <> x''",
	}
	for _, statement := range spoil {
		_, err := h.model.file.writer.Exec(statement)
		h.must(err)
	}
	other := h.account(ids[6])
	other.Profile.FirstName = "nobody's"
	content, err := h.model.sealAccount(t.Context(), ids[6], &other)
	h.must(err)
	_, err = h.model.file.writer.Exec("UPDATE account SET content = ? WHERE id = ?", content, ids[6][:])
	h.must(err)
	h.clearCaches()
	if a := h.account(ids[4]); !a.Erased {
		t.Fatal("nothing was spoiled")
	}
	dry := h.rebuilt(RebuildConfig{DryRun: true})
	if dry.Exchanged || !h.account(ids[4]).Erased {
		t.Error("a dry run changed something")
	}
	h.onlyReadDB()
	done := h.rebuilt(RebuildConfig{})
	for _, r := range []Rebuilt{dry, done} {
		if len(r.Differences) != 3 {
			t.Fatalf("%+v", r.Differences)
		}
		accounts, credentials, parties := r.Differences[0], r.Differences[1], r.Differences[2]
		want := []string{"00041061050R3GG28A1C60T3GF"}
		for _, i := range []int{0, 2, 3, 4, 5, 6} { // 1 was only copied from
			want = append(want, ids[i].String())
		}
		slices.Sort(want)
		if accounts.Missing != 1 || accounts.Surplus != 1 || accounts.Different != 5 || !slices.Equal(accounts.First, want) {
			t.Errorf("accounts: %+v, want %v", accounts, want)
		}
		if credentials.Different == 0 || credentials.Missing+credentials.Surplus != 0 || len(credentials.First) != min(firstIDs, credentials.Different) {
			t.Errorf("credentials: %+v", credentials)
		}
		if parties.Missing != 2 {
			t.Errorf("third parties: %+v", parties)
		}
	}
	if h.dump() != before || h.account(ids[4]).Erased {
		t.Error("not all was mended")
	}
}

func hexOf(id ulid.ULID) string { return fmt.Sprintf("%x", id[:]) }

func TestOnlyOneRebuildAtATime(t *testing.T) {
	h := newFixture(t)
	fillSample(h)
	var second error
	h.rebuilt(RebuildConfig{Progress: func(_, _ uint64, _ string) {
		_, second = h.model.Rebuild(t.Context(), RebuildConfig{DryRun: true})
	}})
	if !errors.Is(second, ErrRebuilding) {
		t.Errorf("the second rebuild: %v", second)
	}
	h.rebuilt(RebuildConfig{})
}

func TestCursorsAreCarriedOver(t *testing.T) {
	h := newFixture(t)
	fillSample(h)
	h.must(h.model.SetCursor(t.Context(), "old", []byte("1")))
	h.must(h.model.SetCursor(t.Context(), "publisher", []byte("1")))
	h.rebuilt(RebuildConfig{Progress: func(done, total uint64, unit string) {
		if unit == "rows compared" && done == total {
			h.must(h.model.SetCursor(t.Context(), "publisher", []byte("2")))
		}
	}})
	for name, want := range map[string]string{"old": "1", "publisher": "2"} {
		if value, err := h.model.Cursor(t.Context(), name); err != nil || string(value) != want {
			t.Errorf("cursor %s is %q, %v", name, value, err)
		}
	}
}

// What is appended while the next file is made is in it, whether it is more than
// a page or less, and is no difference.
func TestRebuildCatchesUp(t *testing.T) {
	for _, unit := range []string{"events folded", "rows compared"} {
		for _, more := range []uint64{3, 3 * rebuildPage} {
			t.Run(fmt.Sprint(more, " after ", unit), func(t *testing.T) {
				h := newFixture(t)
				id := fillSample(h)[39]
				done := h.rebuilt(RebuildConfig{Progress: func(done, total uint64, now string) {
					if now == unit && done == total {
						h.busy(id, more)
					}
				}})
				if done.Different() != 0 || !done.Exchanged {
					t.Errorf("%+v", done)
				}
				head, err := h.store.Head(t.Context())
				h.must(err)
				if a := h.account(id); a.Version != 31+more || h.position() != head {
					t.Errorf("version %d, at position %d of %d", a.Version, h.position(), head)
				}
				h.append(events.AccountStream(id), 31+more, named("last"))
				h.must(h.model.Apply(t.Context(), h.all(head)))
				if again := h.rebuilt(RebuildConfig{DryRun: true}); again.Different() != 0 {
					t.Errorf("the new one differs: %+v", again)
				}
			})
		}
	}
}

// busy appends to an account at version 31, and has it folded.
func (h *fixture) busy(id ulid.ULID, more uint64) {
	h.t.Helper()
	for v := range more {
		h.append(events.AccountStream(id), 31+v, named(fmt.Sprint("new", v)))
	}
	for page := h.all(h.position()); len(page) > 0; page = page[min(500, len(page)):] {
		h.must(h.model.Apply(h.t.Context(), page[:min(500, len(page))]))
	}
}

// The one in use goes on while its rows are compared.
func TestComparisonIsOfOneMoment(t *testing.T) {
	h := newFixture(t)
	fillSample(h)
	appended := 0
	done := h.rebuilt(RebuildConfig{Progress: func(done, total uint64, unit string) {
		if unit == "rows compared" && done < total && appended == 0 { // accounts are done, credentials come
			appended++
			h.issueKey(events.KeyIssued{Consumer: "late"})
			h.must(h.model.Apply(t.Context(), h.all(h.position())))
		}
	}})
	if appended == 0 || done.Different() != 0 {
		t.Errorf("%d keys were issued meanwhile: %+v", appended, done)
	}
	if names, err := h.model.ConsumerNames(t.Context()); err != nil || len(names) != 2 {
		t.Errorf("consumers: %v, %v", names, err)
	}
}
