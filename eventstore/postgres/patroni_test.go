//go:build servers

package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

func TestPatroniFailovers(t *testing.T) {
	cluster := postgrestest.StartPatroni(t)
	logs := []*postgres.Log{openQuietly(t, cluster.URL()), openQuietly(t, cluster.URL())}
	load := appendTo(16, logs...)
	for i := range *failovers {
		load.await(t, 300)
		load.stalled()
		promoted := cluster.KillPrimary(t)
		isHealthy(t, cluster)
		load.await(t, 300)
		t.Logf("failover %d to %s: appends stalled for %s", i+1, promoted.Name, load.stalled().Round(time.Millisecond))
	}
	load.check(t, logs...)
	checkChain(t, cluster, logs[0])
}

func TestDeposedPrimaryAcknowledgesNothing(t *testing.T) {
	cluster := postgrestest.StartPatroni(t)
	logs := []*postgres.Log{openQuietly(t, cluster.URL()), openQuietly(t, cluster.URL())}
	old := cluster.Primary(t)
	pinned := openQuietly(t, old.URL()) // a node that does not learn that the primary was replaced
	load := appendTo(16, logs...)
	load.await(t, 300)
	old.Pause(t)
	cluster.AwaitPromoted(t, old)

	// The server goes on before its Patroni can stop it, and believes that it is the primary.
	old.ContinueServer(t)
	b := one(events.AccountStream(ulid.Make()), 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	appended := make(chan error, 1)
	go func() {
		_, err := pinned.Append(ctx, b)
		appended <- err
	}()
	stored := func(url string) (yes bool) {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		err = conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM log.events WHERE id = $1)`, b.Records[0].ID[:]).Scan(&yes)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	for !stored(old.URL()) {
		time.Sleep(10 * time.Millisecond) // Postgres has nothing to wait on here
	}
	old.RestartPatroni(t)
	isHealthy(t, cluster)

	cancel()
	if err := <-appended; !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Errorf("an append to the deposed primary was answered with %v", err)
	}
	if stored(cluster.Primary(t).URL()) {
		t.Error("the append to the deposed primary is in the log")
	}
	load.await(t, 300)
	load.check(t, logs...)
	checkChain(t, cluster, logs[0])
}

func isHealthy(t *testing.T, cluster *postgrestest.Patroni) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := cluster.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
}

// checkChain expects the hash that the primary has for the last record to be the one that all
// records of a log lead to.
func checkChain(t *testing.T, cluster *postgrestest.Patroni, log *postgres.Log) {
	t.Helper()
	var position uint64
	var hash []byte
	err := log.Read(t.Context(), func(b *pgx.Batch) {
		b.Queue(`SELECT position, hash FROM log.head`).QueryRow(func(row pgx.Row) error { return row.Scan(&position, &hash) })
	})
	if err != nil {
		t.Fatal(err)
	}
	var chain [32]byte
	for after := uint64(0); after < position; {
		page, err := log.ReadAll(t.Context(), after, 1000)
		if err != nil || len(page) == 0 {
			t.Fatalf("read after %d: %d records, %v", after, len(page), err)
		}
		for _, r := range page {
			chain, after = eventstore.ChainHash(chain, r), r.Position
		}
	}
	if string(chain[:]) != string(hash) {
		t.Errorf("the records up to %d do not lead to the hash of the log's head", position)
	}
}
