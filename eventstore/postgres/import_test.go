//go:build servers

package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

func unreplicatedDatabase(t *testing.T, url string) *postgres.Database {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Unreplicated: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func openImport(t *testing.T, url string) *postgres.Log {
	t.Helper()
	log, err := postgres.OpenImport(t.Context(), unreplicatedDatabase(t, url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func TestLogWithAPartOfAnImportIsRefusedUntilTheImportHasEnded(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	log := openImport(t, url)
	b := one(events.AccountStream(ulid.Make()), 0)
	b.Claims = []eventstore.ClaimOp{{}}
	b.Receipts = []eventstore.Receipt{{Expires: b.Records[0].Time.AddDate(1, 0, 0)}}
	if _, err := log.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.OpenLog(t.Context(), unreplicatedDatabase(t, url)); !errors.Is(err, postgres.ErrImporting) {
		t.Fatalf("a log with a part of an import: %v", err)
	}
	log.Close()

	log = openImport(t, url) // begins from the start
	if head, err := log.Head(t.Context()); err != nil || head != 0 {
		t.Fatalf("the log ends at %d, %v", head, err)
	}
	if last, err := log.Append(t.Context(), b); err != nil || last != 1 {
		t.Fatalf("the same append: position %d, %v", last, err)
	}
	if err := log.CheckStorage(t.Context()); err != nil {
		t.Errorf("the triggers: %v", err)
	}
	if err := log.CheckChain(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := log.FinishImport(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.Close()

	db := unreplicatedDatabase(t, url)
	if _, err := postgres.OpenImport(t.Context(), db); !errors.Is(err, postgres.ErrNotEmpty) {
		t.Errorf("a second import: %v", err)
	}
	finished, err := postgres.OpenLog(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer finished.Close()
	if head, err := finished.Head(context.Background()); err != nil || head != 1 {
		t.Errorf("the log ends at %d, %v", head, err)
	}
}

// An import that is refused leaves no mark by which the next one would remove what nodes have
// appended meanwhile.
func TestImportThatIsRefusedBesideANodeChangesNothing(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	node := unreplicatedDatabase(t, url)
	if _, err := node.Join(t.Context(), postgres.Node{Name: "a"}, func() uint64 { return 0 }); err != nil {
		t.Fatal(err)
	}
	log, err := postgres.OpenLog(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := postgres.OpenImport(t.Context(), unreplicatedDatabase(t, url)); !errors.Is(err, postgres.ErrNodesRun) {
		t.Errorf("an import beside a node: %v", err)
	}
	if _, err := log.Append(t.Context(), one(events.AccountStream(ulid.Make()), 0)); err != nil {
		t.Fatal(err)
	}
	primary.ExecIn(t, url, "DELETE FROM cluster.node")
	if _, err := postgres.OpenImport(t.Context(), unreplicatedDatabase(t, url)); !errors.Is(err, postgres.ErrNotEmpty) {
		t.Errorf("an import into the log of a node that has ended: %v", err)
	}
}
