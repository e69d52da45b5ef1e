//go:build servers

package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	"konto/eventstore"
	"konto/eventstore/eventstoretest"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

var databases atomic.Int64

// database makes an empty database on a server.
func database(t testing.TB, s *postgrestest.Server) string {
	t.Helper()
	name := fmt.Sprintf("konto%d", databases.Add(1))
	s.Exec(t, "CREATE DATABASE "+name)
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

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
			at := database(t, primary)
			log := open(t, at)
			urls[log] = at
			return log
		},
		OpenAnother: func(t testing.TB, first eventstore.Log) eventstore.Log { return open(t, urls[first]) },
		Reopen:      func(t testing.TB, closed eventstore.Log) eventstore.Log { return open(t, urls[closed]) },
	})
}
