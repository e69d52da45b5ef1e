//go:build servers

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// liveNode joins a node to a store until the test ends.
func liveNode(t *testing.T, store, name string) {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	member, err := db.Join(t.Context(), postgres.Node{Name: name}, func() uint64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	go member.Run(t.Context())
}

// What cannot work is refused in one sentence that says what to do, and no password is printed.
func TestStartsOnPostgresAreRefused(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	primary.Exec(t, "CREATE DATABASE other")
	store := primary.URL()
	other := strings.Replace(store, "/postgres?", "/other?", 1)
	t.Setenv("KONTO_MASTER_KEY", "")
	alone, nodes, others := t.TempDir(), t.TempDir(), t.TempDir()
	must(t, "account", "open", "--email", "anna@example.com", "--data", alone)
	key, err := os.ReadFile(filepath.Join(alone, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	master := strings.TrimSpace(string(key))
	t.Setenv("KONTO_MASTER_KEY", master)
	must(t, "account", "open", "--email", "anna@example.com", "--data", nodes, "--store", store)
	must(t, "account", "open", "--email", "bo@example.com", "--data", others, "--store", other)
	liveNode(t, store, "held")

	const nats, smtp = "nats://127.0.0.1:9", "smtp://127.0.0.1:9"
	serve := []string{"serve", "--http", "127.0.0.1:0"}
	command := []string{"account", "list"}
	for name, test := range map[string]struct {
		args   []string
		data   string // a new folder unless given
		env    [2]string
		status int
		says   string
	}{
		"serve --store without --node":       {args: append(serve, "--store", store, "--nats-url", nats, "--smtp-url", smtp), says: "--store needs --node"},
		"serve --store without --nats-url":   {args: append(serve, "--store", store, "--node", "a", "--smtp-url", smtp), says: "--store needs --nats-url"},
		"serve --store without --smtp-url":   {args: append(serve, "--store", store, "--node", "a", "--nats-url", nats), says: "--store needs --smtp-url"},
		"--node without --store":             {args: append(serve, "--node", "a"), says: "--node goes with --store"},
		"--key-store without --store":        {args: append(command, "--key-store", store), status: exitUsage, says: "go with --store"},
		"a name that a live node has":        {args: append(serve, "--store", store, "--node", "held", "--nats-url", nats, "--smtp-url", smtp), says: "another node named held runs"},
		"a folder with a log of its own":     {args: append(command, "--store", store), data: alone, says: "a node needs another folder"},
		"a node's folder without --store":    {args: command, data: nodes, says: "give --store"},
		"a folder of another log's node":     {args: append(command, "--store", other), data: nodes, says: "give it another --data"},
		"another master key":                 {args: append(command, "--store", store), env: [2]string{"KONTO_MASTER_KEY", newMaster()}, says: "which this node does not have"},
		"no master key":                      {args: append(command, "--store", store), env: [2]string{"KONTO_MASTER_KEY", ""}, says: "set KONTO_MASTER_KEY"},
		"the keys of another log":            {args: append(command, "--store", store, "--key-store", other), says: "keys belong to another log"},
		"a password on the command line":     {args: append(command, "--store", "postgres://konto:sesame@127.0.0.1/konto"), status: exitUsage, says: "KONTO_STORE"},
		"a URL with / in its password":       {args: command, env: [2]string{"KONTO_STORE", "postgres://konto:sesame/sesame@127.0.0.1/konto"}, says: "/ is %2F"},
		"a URL with % in its password":       {args: command, env: [2]string{"KONTO_STORE", "postgres://konto:sesame%zz@sesame@127.0.0.1/konto"}, says: "% is %25"},
		"a connection string with a bad end": {args: command, env: [2]string{"KONTO_STORE", "host=127.0.0.1 password='sesame"}, says: "cannot be used"},
		"keys backup":                        {args: []string{"keys", "backup", t.TempDir(), "--store", store}, says: "back up that server"},
		"keys restore":                       {args: []string{"keys", "restore", "x", "--store", store}, says: "restore that server"},
		"restore":                            {args: []string{"restore", "x", "--store", store}, says: "restore that server"},
		"demo":                               {args: []string{"demo", "--store", store}, says: "leave --store out"},
		"import --keys without --store":      {args: []string{"import", "x", "--keys", "y"}, says: "go with --store"},
		"replay publish without a server":    {args: []string{"replay", "publish", "--from", "1", "--store", store}, says: "give the --data of a node"},
		"inbound retry without a server":     {args: []string{"inbound", "retry", "1", "--store", store}, says: "give the --data of a node"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.env[0] != "" {
				t.Setenv(test.env[0], test.env[1])
			}
			if test.data == "" {
				test.data = t.TempDir()
			}
			if test.status == 0 {
				test.status = exitFailed
			}
			r := konto(t, append(append([]string{}, test.args...), "--data", test.data)...)
			refused(t, test.status, r, test.says)
			if strings.Contains(r.stderr, "sesame") || strings.Contains(r.stderr, master) {
				t.Errorf("a secret is printed: %s", r.stderr)
			}
		})
	}
	t.Run("another rule for claims while nodes run", func(t *testing.T) {
		primary.Exec(t, "UPDATE log.meta SET claim_rule = 1000")
		r := konto(t, append(command, "--store", store, "--data", nodes)...)
		_, r.stderr, _ = strings.Cut(r.stderr, "\n") // its first line says what was about to happen
		refused(t, exitFailed, r, "(held): stop them first")
		must(t, append(command, "--store", other, "--data", others)...)
	})
	t.Run("a newer schema", func(t *testing.T) {
		primary.Exec(t, "INSERT INTO log.schema_version (version_id, is_applied) VALUES (1000, true)")
		refused(t, exitFailed, konto(t, append(command, "--store", store, "--data", nodes)...), "use a newer konto")
	})
}
