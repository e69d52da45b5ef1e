package verify

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
)

// unguarded drops what stands against accidents.
var unguarded = []string{
	"DROP TRIGGER events_are_never_updated",
	"DROP TRIGGER events_are_never_deleted",
	"DROP TRIGGER events_are_never_replaced",
}

// populated is a folder whose files are closed.
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

// TestTamperedFilesAreFound changes files of a sound folder. What is changed in
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
		"a table added":             {"log.db", []string{"CREATE TABLE more (x)"}, 0, "1 more objects"},
		"a field of the header":     {"log.db", []string{"PRAGMA user_version = 7"}, 0, "user_version is another one"},
		"the row of the log's name": {"log.db", []string{"INSERT INTO meta SELECT * FROM meta"}, 0, "the row that names the log"},
		"the log's format":          {"log.db", []string{"UPDATE meta SET format = 0"}, 0, "the row that names the log"},
		"a claim stolen":            {"log.db", []string{"UPDATE claims SET stream = " + holder(second) + " WHERE stream = " + holder(first)}, 0, "is held by " + string(second.stream)},
		"a stolen claim's thief":    {"log.db", []string{"UPDATE claims SET stream = " + holder(second) + " WHERE key = (SELECT key FROM claims WHERE stream = " + holder(first) + " LIMIT 1)"}, 0, "is held by " + string(second.stream)},
		"a claim shared":            {"log.db", []string{"INSERT INTO claims SELECT key, " + holder(second) + " FROM claims WHERE stream = " + holder(first)}, 0, "it holds a claim that its events do not give"},
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
		"the keys' table":           {"keys.db", []string{"CREATE TABLE more (x)"}, 0, "1 more objects"},
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
			h := &fixture{dir: copied(t, dir)}
			h.raw(t, test.file, test.change...)
			if test.file == "log.db" && len(test.change) > len(unguarded) {
				h.guard(t)
			}
			finds(t, run(t, enter(t, h.dir)), test.position, test.what)
		})
	}
}

// guard puts the triggers back, as a careful hand would.
func (h *fixture) guard(t *testing.T) {
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
		h := &fixture{dir: copied(t, dir)}
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
