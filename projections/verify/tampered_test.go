package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/projections"
)

// unguarded drops what stands against accidents.
var unguarded = []string{
	"DROP TRIGGER events_are_never_updated",
	"DROP TRIGGER events_are_never_deleted",
	"DROP TRIGGER events_are_never_replaced",
}

// populated is a house whose files are closed.
func populated(t *testing.T) (dir string, accounts []*author) {
	t.Helper()
	h := begin(t)
	accounts = h.populate(t, 12)
	must(t, h.close())
	return h.dir, accounts
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// finds wants a problem that says what, at a position unless it is 0.
func finds(t *testing.T, report Report, position uint64, what string) {
	t.Helper()
	if report.OK {
		t.Fatalf("nothing was found, want %q", what)
	}
	if !slices.ContainsFunc(report.Problems, func(p Problem) bool {
		return strings.Contains(p.What, what) && (position == 0 || p.Position == position)
	}) {
		t.Errorf("%+v, want %q at %d", report.Problems, what, position)
	}
	for _, p := range report.Problems {
		if strings.Contains(p.What, "example.com") || strings.Contains(p.What, "Anna") {
			t.Errorf("personal data in %q", p.What)
		}
	}
}

// TestTamperedFilesAreFound changes files of a sound house. What is changed in
// the log's records leaves the triggers out of place too, so those are put back.
func TestTamperedFilesAreFound(t *testing.T) {
	dir, accounts := populated(t)
	holder := func(a *author) string { return "'" + string(a.stream) + "'" }
	first, second := accounts[0], accounts[1]
	id := func(a *author) string { id := a.id(); return fmt.Sprintf("x'%x'", id[:]) }
	tests := map[string]struct {
		file     string
		change   []string
		position uint64
		what     string
	}{
		"a record changed":          {"log.db", append(unguarded, "UPDATE events SET data = CAST(substr(data, 1, 20) || 'x' || substr(data, 22) AS BLOB) WHERE position = 30"), 30, "the hash does not fit"},
		"its seal":                  {"log.db", append(unguarded, "UPDATE events SET data = CAST(substr(data, 1, 20) || 'x' || substr(data, 22) AS BLOB) WHERE position = 30"), 30, "does not fit its key"},
		"a record removed":          {"log.db", append(unguarded, "DELETE FROM events WHERE position = 31"), 31, "the record is missing"},
		"a trigger dropped":         {"log.db", unguarded[:1], 0, "trigger events_are_never_updated is missing"},
		"a trigger weakened":        {"log.db", append(unguarded[:1:1], "CREATE TRIGGER events_are_never_updated BEFORE UPDATE ON events BEGIN SELECT 1; END"), 0, "trigger events_are_never_updated is another one"},
		"a table added":             {"log.db", []string{"CREATE TABLE more (x)"}, 0, "1 objects more"},
		"a mark in the header":      {"log.db", []string{"PRAGMA user_version = 7"}, 0, "user_version is another one"},
		"the row of the log's name": {"log.db", []string{"INSERT INTO meta SELECT * FROM meta"}, 0, "the row that names the log"},
		"the log's format":          {"log.db", []string{"UPDATE meta SET format = 0"}, 0, "the row that names the log"},
		"a claim stolen":            {"log.db", []string{"UPDATE claims SET stream = " + holder(second) + " WHERE stream = " + holder(first)}, 0, "is held by " + string(second.stream)},
		"a stolen claim's thief":    {"log.db", []string{"UPDATE claims SET stream = " + holder(second) + " WHERE key = (SELECT key FROM claims WHERE stream = " + holder(first) + " LIMIT 1)"}, 0, "is held by " + string(second.stream)},
		"a claim lost":              {"log.db", []string{"DELETE FROM claims WHERE stream = " + holder(first)}, 0, "claim email is held by nobody"},
		"a claim too many":          {"log.db", []string{"INSERT INTO claims VALUES (x'0000000000000000000000000000000000000000000000000000000000000007', " + holder(first) + ")"}, 0, "it holds a claim that its events do not give"},
		"a claim of nobody's":       {"log.db", []string{"INSERT INTO claims VALUES (x'0000000000000000000000000000000000000000000000000000000000000007', 'account-" + ulid.Make().String() + "')"}, 0, "the log may have lost its end"},
		"a claim of no stream":      {"log.db", []string{"INSERT INTO claims VALUES (x'0000000000000000000000000000000000000000000000000000000000000007', 'somebody')"}, 0, "is no stream"},
		"a claim's key cut":         {"log.db", []string{"INSERT INTO claims VALUES (x'07', " + holder(first) + ")"}, 0, "key of 1 bytes"},
		"a receipt changed":         {"log.db", []string{"UPDATE receipts SET data = zeroblob(60)"}, 0, "a receipt that was left with it cannot be read"},
		"a receipt moved":           {"log.db", []string{"UPDATE receipts SET stream = " + holder(first) + " WHERE stream = " + holder(second)}, 0, "a receipt that was left with it cannot be read"},
		"a receipt of nobody's":     {"log.db", []string{"INSERT INTO receipts VALUES (zeroblob(32), 'account-" + ulid.Make().String() + "', x'', 0)", "UPDATE receipts SET key = x'0000000000000000000000000000000000000000000000000000000000000001' WHERE key = zeroblob(32)"}, 0, "the log may have lost its end"},
		"a key lost":                {"keys.db", []string{"DELETE FROM keys WHERE stream = " + holder(first)}, 1, "the key of its stream is missing"},
		"a key damaged":             {"keys.db", []string{"UPDATE keys SET wrapped = zeroblob(60) WHERE stream = " + holder(first)}, 1, "stored key is damaged"},
		"a key nobody uses damaged": {"keys.db", []string{"INSERT INTO keys VALUES ('account-" + ulid.Make().String() + "', zeroblob(60), 0)"}, 0, "stored key is damaged"},
		"the keys' table":           {"keys.db", []string{"CREATE TABLE more (x)"}, 0, "1 objects more"},
		"a row's content changed":   {"read.db", []string{"UPDATE account SET content = zeroblob(100) WHERE id = " + id(first)}, 0, "cannot be read"},
		"a row's content exchanged": {"read.db", []string{"UPDATE account SET content = (SELECT content FROM account WHERE id = " + id(second) + ") WHERE id = " + id(first)}, 0, "cannot be read"},
		"a row's column changed":    {"read.db", []string{"UPDATE account SET version = version + 1 WHERE id = " + id(first)}, 0, "is not what its events come to"},
		"an account made erased":    {"read.db", []string{"UPDATE account SET erased = 1 WHERE id = " + id(first)}, 0, "is not what its events come to"},
		"a row lost":                {"read.db", []string{"DELETE FROM account WHERE id = " + id(first)}, 0, "has no row for it"},
		"the last row lost":         {"read.db", []string{"DELETE FROM account WHERE id = (SELECT max(id) FROM account)"}, 0, "has no row for it"},
		"credentials lost":          {"read.db", []string{"DELETE FROM credential"}, 0, "has no row for it"},
		"an account too many":       {"read.db", []string{"INSERT INTO account SELECT randomblob(16), erased, version, position, opened, updated, content FROM account WHERE erased LIMIT 1"}, 0, "the log may have lost its end"},
		"a credential too many":     {"read.db", []string{"INSERT INTO credential SELECT x'ffffffffffffffffffffffffffffffff', version, issued, revoked, consumer, account, parent, content FROM credential LIMIT 1"}, 0, "in the read model"},
		"a consumer renamed":        {"read.db", []string{"UPDATE credential SET consumer = 'other' WHERE consumer IS NOT NULL"}, 0, "is not what its events come to"},
		"a session hidden":          {"read.db", []string{"UPDATE credential SET account = NULL"}, 0, "is not what its events come to"},
		"a delegation hidden":       {"read.db", []string{"UPDATE credential SET parent = NULL"}, 0, "is not what its events come to"},
		"a revocation undone":       {"read.db", []string{"UPDATE credential SET revoked = 0 WHERE revoked > 0"}, 0, "is not what its events come to"},
		"a third party lost":        {"read.db", []string{"DELETE FROM third_party"}, 0, "has no row for it"},
		"a removed one came back":   {"read.db", []string{"INSERT INTO third_party SELECT x'ffffffffffffffffffffffffffffffff', version, content FROM third_party"}, 0, "in the read model"},
		"an index dropped":          {"read.db", []string{"DROP INDEX credential_account"}, 0, "index credential_account is missing"},
		"the read model's place":    {"read.db", []string{"UPDATE progress SET event = zeroblob(16)"}, 0, "made from another history"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &house{dir: copied(t, dir)}
			h.raw(t, test.file, test.change...)
			if test.file == "log.db" && len(test.change) > len(unguarded) {
				h.guard(t)
			}
			finds(t, run(t, enter(t, h.dir)), test.position, test.what)
		})
	}
}

// guard puts the triggers back, as a careful hand would.
func (h *house) guard(t *testing.T) {
	t.Helper()
	for _, event := range []struct{ name, text string }{
		{"updated", "BEFORE UPDATE ON events\nBEGIN"}, {"deleted", "BEFORE DELETE ON events\nBEGIN"},
		{"replaced", "BEFORE INSERT ON events\nWHEN EXISTS (SELECT 1 FROM events WHERE position = NEW.position)\n\tOR EXISTS (SELECT 1 FROM events WHERE stream = NEW.stream AND version = NEW.version)\nBEGIN"},
	} {
		h.raw(t, "log.db", "CREATE TRIGGER events_are_never_"+event.name+" "+event.text+" SELECT RAISE(ABORT, 'events are append-only'); END")
	}
}

// TestIndexThatDoesNotFitItsTableIsFound has an index miss what happened to its
// table: all rows and all of the schema are as they should be.
func TestIndexThatDoesNotFitItsTableIsFound(t *testing.T) {
	dir, _ := populated(t)
	for file, of := range map[string]struct{ index, change string }{
		"log.db":  {"receipts_by_expiry", "UPDATE receipts SET expires = expires + 1"},
		"read.db": {"credential_account", "UPDATE credential SET rowid = rowid + 1000"},
	} {
		h := &house{dir: copied(t, dir)}
		h.raw(t, file, "PRAGMA writable_schema = ON", "CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = '"+of.index+"'",
			"DELETE FROM sqlite_schema WHERE name = '"+of.index+"'")
		h.raw(t, file, of.change)
		h.raw(t, file, "PRAGMA writable_schema = ON", "INSERT INTO sqlite_schema SELECT * FROM kept", "DROP TABLE kept")
		finds(t, run(t, enter(t, h.dir)), 0, "a damaged one")
	}
}

func TestLostEndIsFoundByWhatKnowsOfIt(t *testing.T) {
	dir, _ := populated(t)
	h := enter(t, copied(t, dir))
	last := h.opened(t, 100)
	must(t, h.follow(t.Context()))
	must(t, h.close())
	cut := append(unguarded, "DELETE FROM events WHERE stream = '"+string(last.stream)+"'")
	h.raw(t, "log.db", cut...)
	h.guard(t)

	h = enter(t, h.dir)
	if h.model != nil {
		t.Error("a read model of another history was opened")
	}
	report := run(t, h)
	finds(t, report, 0, "made from another history")
	finds(t, report, 0, "it holds a claim, but the log has no record of it")
	finds(t, report, 0, "a receipt was left with it, but the log has no record of it")
	must(t, h.close())

	// Without anything that knows of it there is nothing to find.
	must(t, os.Remove(h.file("read.db")))
	h.raw(t, "log.db", "DELETE FROM claims WHERE stream = '"+string(last.stream)+"'", "DELETE FROM receipts WHERE stream = '"+string(last.stream)+"'")
	h = enter(t, h.dir)
	must(t, h.follow(t.Context()))
	clean(t, h)
}

func TestReadModelThatIsBehindIsComparedWhereItIs(t *testing.T) {
	h := begin(t)
	h.populate(t, 3)
	behind, err := h.model.Position(t.Context())
	must(t, err)
	again := h.live(t, 50) // with sessions that a new password closes
	for position := behind; position < behind+uint64(15); position++ {
		must(t, h.catchUp(t.Context(), position))
		if report := clean(t, h); report.ReadModel != position {
			t.Errorf("at %d, not at %d", report.ReadModel, position)
		}
	}
	must(t, h.follow(t.Context()))
	again.write(events.ProfileUpdated{FirstName: events.Set("Eva")})
	clean(t, h)
}

// TestEventsThatDoNotFoldAreFound appends, in good order, what should not be there.
func TestEventsThatDoNotFoldAreFound(t *testing.T) {
	append := func(t *testing.T, h *house, stream events.Stream, version uint64, name, data string) uint64 {
		e := events.Event{ID: ulid.Make(), Stream: stream, Version: version + 1, Type: name, Time: time.Now().UTC().Truncate(time.Millisecond), Data: []byte(data)}
		position, err := h.store.Append(t.Context(), stream, version, nil, []events.Event{e})
		must(t, err)
		return position
	}
	for name, test := range map[string]struct{ event, data, what string }{
		"a type that is unknown":    {"AccountMerged.v1", `{}`, "its type is unknown"},
		"data that does not decode": {events.TypeEmailChanged, `{"Anna": true}`, "its data does not decode"},
		"another category's event":  {events.TypeSessionOpened, `{"authType":"session","secretHash":""}`, "does not belong in"},
	} {
		t.Run(name, func(t *testing.T) {
			h := begin(t)
			a := h.opened(t, 1)
			must(t, h.follow(t.Context()))
			position := append(t, h, a.stream, 1, test.event, test.data)
			h.opened(t, 2)
			report := run(t, h)
			finds(t, report, position, test.what)
			if first := report.Problems[0]; first.Position != position || first.Stream != a.stream {
				t.Errorf("%+v", report.Problems)
			}
		})
	}
	t.Run("a stream of no category", func(t *testing.T) {
		h := begin(t)
		position := append(t, h, events.Stream("order-"+ulid.Make().String()), 0, events.TypeAccountErased, `{}`)
		finds(t, run(t, h), position, "of no category")
	})
	t.Run("metadata", func(t *testing.T) {
		h := begin(t)
		a := h.opened(t, 1)
		_, err := h.log.Append(t.Context(), eventstore.Batch{Stream: a.stream, Expected: 1, Records: []eventstore.Record{{
			Stream: a.stream, Version: 2, ID: ulid.Make(), Type: events.TypeAccountErased, Time: time.Now().UTC().Truncate(time.Millisecond),
			Metadata: []byte("Anna"), Data: []byte("{}"),
		}}})
		must(t, err)
		finds(t, run(t, h), 2, "metadata does not decode")
	})
}

func TestDestroyedKeysAreFineWhereTheStreamEnded(t *testing.T) {
	h := begin(t)
	h.populate(t, 2)
	clean(t, h)
	living := h.live(t, 70)
	must(t, h.follow(t.Context()))
	must(t, h.keys.Destroy(t.Context(), living.stream))
	report := run(t, h)
	finds(t, report, 0, "its key was destroyed, but no event ends its stream")
	finds(t, report, 0, "it holds a claim that its events do not give")
}

// An older copy of the keyring has the keys of those who were erased since.
func TestKeyThatOutlivesAnErasureIsFound(t *testing.T) {
	h := begin(t)
	erased := h.author(t, events.AccountStream(ulid.Make()))
	erased.write(events.AccountOpened{}).write(events.AccountErased{})
	must(t, h.follow(t.Context()))
	cfg := h.config()
	if report, err := Run(t.Context(), cfg); err != nil || !report.OK {
		t.Errorf("while the erasure may be under way: %+v, %v", report, err)
	}
	cfg.Erasing = time.Nanosecond
	report, err := Run(t.Context(), cfg)
	must(t, err)
	finds(t, report, 0, "the account was erased, and its key is still there")
	must(t, h.keys.Destroy(t.Context(), erased.stream))
	if report, err := Run(t.Context(), cfg); err != nil || !report.OK {
		t.Errorf("once the key is destroyed: %+v, %v", report, err)
	}
}

func TestThirdPartyWhoseKeyIsDestroyed(t *testing.T) {
	h := begin(t)
	p := h.author(t, events.ThirdPartyStream(ulid.Make()))
	p.write(events.ThirdPartyAdded{Name: "crm", Secret: events.WebhookSecrets{}}).write(events.ThirdPartyPaused{})
	must(t, h.follow(t.Context()))
	must(t, h.keys.Destroy(t.Context(), p.stream))
	report := run(t, h)
	finds(t, report, 1, "no event ends its stream")
	finds(t, report, 2, "it holds a claim that its events do not give")
	if report.Found != 2 {
		t.Errorf("%+v", report)
	}
	p.write(events.ThirdPartyRemoved{})
	must(t, h.follow(t.Context()))
	clean(t, h)
}

func TestProblemsAreBoundedAndTheLowestComeFirst(t *testing.T) {
	h := begin(t)
	for n := range 3 * MaxProblems {
		h.opened(t, n)
	}
	must(t, h.follow(t.Context()))
	must(t, h.close())
	h.raw(t, "read.db", "DELETE FROM account")
	report := run(t, enter(t, h.dir))
	if report.Found != 3*MaxProblems || len(report.Problems) != MaxProblems {
		t.Fatalf("%d found, %d named", report.Found, len(report.Problems))
	}
	for i, p := range report.Problems {
		if p.Position != uint64(i+1) {
			t.Fatalf("problem %d is at %d", i, p.Position)
		}
	}
}

// TestWhatIsAppendedMeanwhileIsNoProblem checks a house in which much happens.
func TestWhatIsAppendedMeanwhileIsNoProblem(t *testing.T) {
	h := begin(t)
	h.populate(t, 5)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	busy := make(chan error, 2)
	go func() {
		defer func() { busy <- nil }()
		for n := 1000; ctx.Err() == nil; n++ {
			h.live(t, n)
		}
	}()
	go func() {
		for ctx.Err() == nil {
			if err := h.follow(ctx); err != nil && ctx.Err() == nil {
				busy <- err
				return
			}
		}
		busy <- nil
	}()
	for range 10 {
		clean(t, h)
	}
	stop()
	for range 2 {
		must(t, <-busy)
	}
	must(t, h.follow(t.Context()))
	clean(t, h)
}

// meddled is a log to which something happens after each page of all streams,
// and after each of one stream.
type meddled struct {
	Log
	then, thenOfOne func(page []eventstore.Record)
}

func (m meddled) ReadStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	page, err := m.Log.ReadStream(ctx, stream, after, limit)
	m.thenOfOne(page)
	return page, err
}

func (m meddled) ByStream(ctx context.Context, stream events.Stream, after uint64, limit int) ([]eventstore.Record, error) {
	page, err := m.Log.ByStream(ctx, stream, after, limit)
	m.then(page)
	return page, err
}

// TestWhatHappensBetweenTwoReadsIsNoProblem lets accounts that were read change
// before their rows and claims are, and again while they are looked at again.
func TestWhatHappensBetweenTwoReadsIsNoProblem(t *testing.T) {
	h := begin(t)
	accounts := h.populate(t, 12)
	changing := func() (map[events.Stream]*author, func([]eventstore.Record)) {
		left := map[events.Stream]*author{}
		for _, a := range accounts {
			if a != nil {
				left[a.stream] = a
			}
		}
		return left, func(page []eventstore.Record) {
			for _, r := range page {
				if a := left[r.Stream]; a != nil {
					delete(left, r.Stream)
					a.write(events.EmailChanged{PreviousEmail: a.account.Email, NewEmail: ulid.Make().String() + "@example.com", How: events.EmailDirect})
				}
			}
			must(t, h.follow(t.Context()))
		}
	}
	cfg := h.config()
	cfg.Page = 1000 // all of the log
	first, then := changing()
	second, whileRow := changing()
	third, whileClaims := changing()
	cfg.Log = meddled{h.log, then, func(page []eventstore.Record) {
		if len(page) > 0 && second[page[0].Stream] == nil {
			whileClaims(page)
		}
		whileRow(page)
	}}
	report, err := Run(t.Context(), cfg)
	must(t, err)
	if !report.OK || len(first)+len(second)+len(third) > 0 {
		t.Errorf("%d accounts left alone: %+v", len(first)+len(second)+len(third), report)
	}
}

func TestRunEndsWithItsContextAndItsLog(t *testing.T) {
	h := begin(t)
	h.populate(t, 2)
	for _, unit := range []string{"files", "records", "events", "claims", "receipts"} {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := h.config()
		cfg.Tell = func(_, _ uint64, of string) {
			if of == unit {
				cancel()
			}
		}
		if report, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) || report.Found > 0 {
			t.Errorf("in %s: %v, %+v", unit, err, report)
		}
	}
	cfg := h.config()
	cfg.Tell = func(_, _ uint64, of string) {
		if of == "events" {
			must(t, h.log.Close())
		}
	}
	if report, err := Run(t.Context(), cfg); !errors.Is(err, eventstore.ErrClosed) || report.Found > 0 {
		t.Errorf("%v, %+v", err, report)
	}
}

func TestQuick(t *testing.T) {
	h := begin(t)
	h.populate(t, 3)
	cfg := QuickConfig{Log: h.log, Model: h.model}
	quick := func(want string) QuickReport {
		t.Helper()
		r, err := Quick(t.Context(), cfg)
		must(t, err)
		if r.OK != (want == "") || want != "" && !strings.Contains(r.Problems[0].What, want) {
			t.Errorf("%+v, want %q", r, want)
		}
		return r
	}
	quick("")
	h.opened(t, 80)
	if r := quick(""); r.Lag != 1 || r.Head != r.ReadModel+1 {
		t.Errorf("%+v", r)
	}
	for state, want := range map[string]string{
		projections.StateFollowing: "", projections.StateWaiting: "",
		projections.StateRetrying: "mailer is retrying: disk full", projections.StateStopped: "mailer is stopped: disk full",
	} {
		cfg.Followers = func() []projections.Status {
			return []projections.Status{{Name: "mailer", State: state, Error: "disk full"}}
		}
		quick(want)
	}
	cfg.Followers = nil
	cfg.Files = []File{{"master.key", func(context.Context) error { return errors.New("the file is missing") }}}
	quick("master.key: the file is missing")
	cfg.Files = nil

	must(t, h.follow(t.Context()))
	must(t, h.close())
	h.raw(t, "log.db", append(unguarded, "UPDATE events SET time = time + 1 WHERE position = 20")...)
	h = enter(t, h.dir)
	cfg.Log, cfg.Model = h.log, h.model
	quick("the hash does not fit")
}
