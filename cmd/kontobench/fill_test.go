package main

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/cmd/konto/datafolder"
	"konto/projections/natsserver"
)

// What is filled in bulk is a log like any other, and the publisher begins behind it.
func TestFilledLogPassesVerify(t *testing.T) {
	folder := t.TempDir()
	f, err := newFilling(t.Context(), folder, func(uint64, uint64, string) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.openAccounts(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	serveOnce := func() {
		stopped(t, serve(t, folder))
	}
	serveOnce()
	if err := f.growTo(t.Context(), folder, size{events: 60, accounts: 7}); err != nil {
		t.Fatal(err)
	}
	serveOnce()
	if report := object(t, konto(t, "verify", "--data", folder, "--json")); report["position"] != 60.0 {
		t.Errorf("%v", report)
	}
	if accounts := konto(t, "account", "list", "--data", folder, "--json"); strings.Count(accounts, "\n") != 7 {
		t.Errorf("the accounts are %s", accounts)
	}
	if err := f.open(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if n := published(t, f.folder); n != 1 {
		t.Errorf("%d events were published instead of the first account's opening", n)
	}
}

// published counts the events in NATS' copy of the log.
func published(t *testing.T, folder *datafolder.Folder) uint64 {
	t.Helper()
	broker, err := natsserver.Start(natsserver.Config{
		Dir: filepath.Join(folder.Path, "jetstream"), Key: folder.Keys.Derive("jetstream"), Listen: "127.0.0.1:0",
		Authenticate: func(token string) (natsserver.Holder, bool) { return natsserver.Holder{Name: "test"}, token == "test" },
		Consumers:    func() []string { return []string{"test"} },
		Log:          slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	conn, err := natsgo.Connect(broker.URL(), natsgo.Token("test"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KONTO")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}
