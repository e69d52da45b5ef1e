//go:build servers

package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"konto/eventstore"
	"konto/eventstore/eventstoretest"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
	"konto/eventstore/sqlite"
)

func open(t testing.TB, url string) *postgres.Log {
	t.Helper()
	return openLog(t, postgres.Config{URL: url})
}

func openLog(t testing.TB, cfg postgres.Config) *postgres.Log {
	t.Helper()
	db, err := postgres.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	log, err := postgres.OpenLog(context.Background(), db)
	if err != nil {
		db.Close()
		t.Fatal(err)
	}
	return log
}

func TestLogKeepsTheContract(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	urls := map[eventstore.Log]string{}
	eventstoretest.Run(t, eventstoretest.Backend{
		Open: func(t testing.TB) eventstore.Log {
			at := primary.Database(t)
			log := open(t, at)
			urls[log] = at
			return log
		},
		OpenAnother: func(t testing.TB, first eventstore.Log) eventstore.Log { return open(t, urls[first]) },
		Reopen:      func(t testing.TB, closed eventstore.Log) eventstore.Log { return open(t, urls[closed]) },
		Admin: &eventstoretest.Admin{
			OpenCopy: func(ctx context.Context, path string) (eventstore.AdminLog, error) { return sqlite.Open(ctx, path) },
			Change: func(ctx context.Context, log eventstore.AdminLog, position uint64, r *eventstore.Record) error {
				return change(ctx, urls[log], position, r)
			},
		},
	})
}

// change changes a record, or removes it if r is nil.
func change(ctx context.Context, url string, position uint64, r *eventstore.Record) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `BEGIN; ALTER TABLE log.events DISABLE TRIGGER USER`); err != nil {
		return err
	}
	if r == nil {
		_, err = conn.Exec(ctx, `DELETE FROM log.events WHERE position = $1`, position)
	} else {
		_, err = conn.Exec(ctx, `UPDATE log.events SET stream = $1, version = $2, id = $3, type = $4, time = $5, metadata = $6, data = $7
			WHERE position = $8`, r.Stream, r.Version, r.ID[:], r.Type, r.Time.UnixMilli(), r.Metadata, r.Data, position)
	}
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `ALTER TABLE log.events ENABLE TRIGGER USER; COMMIT`)
	return err
}
