package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"konto/eventstore/sqlitefile"
	"konto/projections"
)

// outcome is what became of a changed byte.
type outcome string

const (
	refused outcome = "refused when the files were opened"
	found   outcome = "found by verify"
	unused  outcome = "in bytes that nobody reads"
)

// TestNoChangedByteIsServed changes bytes of log.db, one at a time, anywhere. Each
// is found; or it is one that SQLite does not use (free space in a page or whole free
// pages, members of the header), which nobody can tell from what was there before:
// then all that is stored, and all that is served, is as it was.
//
// A sum over whole pages would find the last kind, too. SQLite has one (cksumvfs),
// but the build that konto uses does not contain it.
func TestNoChangedByteIsServed(t *testing.T) {
	if n := flip(t, "log.db", flips); n < flips/4 {
		t.Errorf("only %d were found", n)
	}
}

// TestNoChangedKeyOrRowIsServed does the same to the files beside the log. Their
// keys and rows are sealed, so what is changed is told when it is read. What is
// sealed with a key that was destroyed is read no more.
func TestNoChangedKeyOrRowIsServed(t *testing.T) {
	for _, file := range []string{"keys.db", "read.db"} {
		t.Run(file, func(t *testing.T) { flip(t, file, flips/3) })
	}
}

// flip changes n bytes of a file and returns how many of them were found.
func flip(t *testing.T, file string, n int) int {
	t.Helper()
	h := begin(t)
	h.populate(t, flipAccounts)
	must(t, h.close())
	h = enter(t, h.dir)
	want := h.serves(t)
	must(t, h.close())
	stored := h.dump(t, "log.db")
	intact, err := os.ReadFile(h.file(file))
	must(t, err)

	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	outcomes := map[outcome]int{}
	for range n {
		at, bit := random.IntN(len(intact)), byte(1)<<random.IntN(8)
		changed := &fixture{dir: copied(t, h.dir)}
		content := slices.Clone(intact)
		content[at] ^= bit
		must(t, os.WriteFile(changed.file(file), content, 0o600))
		what := fmt.Sprintf("seed %d, byte %d of %s, bit %08b", seed, at, file, bit)
		outcome, report := changed.examine(t, what, want)
		outcomes[outcome]++
		if outcome == unused && changed.dump(t, "log.db") != stored {
			t.Errorf("%s: what is stored was changed, and not found: %+v", what, report)
		}
		must(t, os.RemoveAll(changed.dir))
	}
	t.Logf("%d changed bytes of %d in %s, seed %d:", n, len(intact), file, seed)
	for _, o := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%5d %s", outcomes[o], o)
	}
	return outcomes[found] + outcomes[refused]
}

// examine opens a folder, wants each account and credential to be served as it was
// or not at all, and verifies.
func (h *fixture) examine(t *testing.T, what string, want map[ulid.ULID]string) (outcome, Report) {
	t.Helper()
	opened, err := openFixture(t.Context(), h.dir)
	if err != nil {
		return refused, Report{}
	}
	defer opened.close()
	if opened.model != nil { // otherwise it is recreated
		for id, text := range want {
			if got, err := opened.serve(t.Context(), id); err == nil && got != text {
				t.Errorf("%s: %s is served as another", what, id)
			}
		}
	}
	cfg := opened.config()
	cfg.Page = 0
	report, err := Run(t.Context(), cfg)
	must(t, err)
	if !report.OK {
		return found, report
	}
	return unused, report
}

// serve gives what is told of an account or a credential.
func (h *fixture) serve(ctx context.Context, id ulid.ULID) (string, error) {
	credential, ok, err := h.model.Credential(ctx, id)
	if err != nil {
		return "", err
	}
	if ok {
		return projections.CredentialRow(credential).Text, nil
	}
	follower := projections.NewFollower(projections.FollowerConfig{Store: h.store, Projection: h.model})
	reader := projections.Reader{Store: h.store, Model: h.model, Follower: follower, Patience: time.Nanosecond}
	account, err := reader.Account(ctx, id)
	return projections.AccountRow(account).Text, err
}

// serves lists all that is served.
func (h *fixture) serves(t *testing.T) map[ulid.ULID]string {
	t.Helper()
	all := map[ulid.ULID]string{}
	for after := (ulid.ULID{}); ; {
		page, err := h.model.Accounts(t.Context(), after, 100)
		must(t, err)
		for _, a := range page {
			after = a.ID
			if a.Exists() {
				all[a.ID] = projections.AccountRow(a).Text
			}
		}
		if len(page) == 0 {
			break
		}
	}
	credentials, err := h.model.Credentials(t.Context(), ulid.ULID{}, 10_000)
	must(t, err)
	for _, c := range credentials {
		all[c.ID] = projections.CredentialRow(c).Text
	}
	for id, text := range all {
		if got, err := h.serve(t.Context(), id); err != nil || got != text {
			t.Fatalf("%s is served as %q, %v", id, got, err)
		}
	}
	return all
}

// dump is a sum over all rows of all tables, and the schema.
func (h *fixture) dump(t *testing.T, file string) [sha256.Size]byte {
	t.Helper()
	db, err := sqlitefile.OpenReaders(h.file(file), 1)
	must(t, err)
	defer db.Close()
	var all bytes.Buffer
	// Without the pages that tables begin on, which SQLite may move.
	dumpRows(t, db, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2", &all)
	for _, table := range []string{"meta", "events", "claims", "receipts"} {
		dumpRows(t, db, "SELECT * FROM "+table+" ORDER BY 1", &all)
	}
	return sha256.Sum256(all.Bytes())
}

func dumpRows(t *testing.T, db *sql.DB, query string, to io.Writer) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	must(t, err)
	defer rows.Close()
	names, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(any)
		}
		must(t, rows.Scan(values...))
		for _, v := range values {
			fmt.Fprintf(to, "%x|", *v.(*any))
		}
	}
	must(t, rows.Err())
}
