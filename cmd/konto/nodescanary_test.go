//go:build servers

package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore/postgres/postgrestest"
)

// nodesAviary is an aviary that three nodes serve.
type nodesAviary struct {
	*aviary
	n                *nodes
	nodes            []*node
	primary, standby *postgrestest.Server
}

// TestErasedAccountLeavesNothingOnNodes is the promise of konto account erase, if several nodes have
// served the account. One of them does not run while it is erased.
func TestErasedAccountLeavesNothingOnNodes(t *testing.T) {
	a := &nodesAviary{aviary: unservedAviary(t), primary: postgrestest.Primary(t)}
	a.standby, _ = a.primary.Standby(t, "standby")
	a.n = newNodes(t, a.primary.URL())
	for _, name := range []string{"a", "b", "c"} {
		a.nodes = append(a.nodes, a.n.start(t, name))
	}
	a.outside = true
	a.url, a.nats, a.folder = a.nodes[0].url, a.n.nats.URL(""), a.nodes[0].folder
	a.mailed = func() bool { return true } // no mail server answers, so a mail is still waiting
	a.open()
	a.live()
	a.eachNode(a.nodes, func(at *node) {
		if status := a.status(at); status != http.StatusOK {
			t.Fatalf("node %s answers %d", at.name, status)
		}
		a.checkPrinted()
	})
	a.checkpoint()
	a.checkPostgres("before the erasure")
	wrapped := a.wrapped()
	for _, server := range []*postgrestest.Server{a.primary, a.standby} {
		if !slices.ContainsFunc(parts(wrapped).walk(t, server.Folder()), func(one string) bool { return strings.Contains(one, " in base/") }) {
			t.Errorf("the tables of the %s do not even have keys before the erasure", server.Name)
		}
	}

	away := a.nodes[2]
	away.stop(t)
	a.folder = a.n.folder
	erased := mustJSON(t, a.in("account", "erase", a.canaries["new email"], "--yes")...)
	a.checkNothingReadable(a.nodes[:2]...) // at once: a node that has a key in memory soon drops it by itself
	a.checkFiles("after the erasure")
	a.checkKeys(wrapped)
	a.checkReceived()
	a.checkProof(erased["proof"].(string))
	a.checkRefused()
	// What the node that was away has in its folder is unreadable before it runs again.
	a.folder = away.folder
	if found := mentions(a.printed(), a.canaries); len(found) > 0 {
		t.Errorf("in the folder of the node that was away a command prints %v", found)
	}
	away.again(t)
	a.checkNothingReadable(a.nodes...)
	a.checkFiles("with the node that was away")
	for _, each := range a.nodes {
		each.stop(t)
	}
	a.checkFiles("after all have stopped")
	a.folder = a.n.folder
	must(t, a.in("verify")...)
}

// eachNode makes the aviary's commands run in the process of each node in turn.
func (a *nodesAviary) eachNode(nodes []*node, do func(*node)) {
	a.t.Helper()
	folder := a.folder
	for _, each := range nodes {
		a.folder = each.folder
		do(each)
	}
	a.folder = folder
}

// status is what a node answers to the account's key.
func (a *nodesAviary) status(at *node) int {
	a.t.Helper()
	hostup, _ := send(a.t, "GET", at.url+"/api/v2/me", a.key, "")
	generic, _ := send(a.t, "GET", at.url+"/v1/account", a.key, "")
	if hostup != generic {
		a.t.Errorf("node %s answers %d and %d", at.name, hostup, generic)
	}
	return hostup
}

// checkNothingReadable: no node that runs admits the account's credentials, finds the account or
// can decrypt anything of it.
func (a *nodesAviary) checkNothingReadable(nodes ...*node) {
	a.t.Helper()
	a.eachNode(nodes, func(at *node) {
		if status := a.status(at); status != http.StatusUnauthorized {
			a.t.Errorf("node %s answers %d to the account's key", at.name, status)
		}
		body := fmt.Sprintf(`{"id":%q,"last_name":"X"}`, a.canaries["payway id"])
		if status, answer := send(a.t, "PUT", at.url+"/external/api/v1/accounts", a.client, body); status != http.StatusNotFound {
			a.t.Errorf("node %s answers %d %s to a client", at.name, status, answer)
		}
		refused(a.t, exitFailed, konto(a.t, a.in("account", "show", a.id)...), "there is no account")
		printed := a.printed()
		if found := mentions(printed, a.canaries); len(found) > 0 {
			a.t.Errorf("node %s still reads %v", at.name, found)
		}
		if !strings.Contains(printed, events.TypeAccountErased) {
			a.t.Errorf("node %s has not come to the end of the account", at.name)
		}
	})
}

// checkpoint makes both servers write everything that was committed before the call into their files.
func (a *nodesAviary) checkpoint() {
	a.t.Helper()
	a.primary.Exec(a.t, "CHECKPOINT")
	var end string
	conn, err := pgx.Connect(a.t.Context(), a.primary.URL())
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(a.t.Context(), "SELECT pg_current_wal_flush_lsn()::text").Scan(&end); err != nil {
		a.t.Fatal(err)
	}
	// The standby writes its files at a checkpoint of the primary that it has replayed.
	a.standby.Await(a.t, a.standby.URL(), "SELECT pg_last_wal_replay_lsn() >= '"+end+"'")
	a.standby.Exec(a.t, "CHECKPOINT")
}

// checkFiles: no file of any folder holds anything.
func (a *nodesAviary) checkFiles(when string) {
	a.t.Helper()
	folders := []string{a.n.folder}
	for _, each := range a.nodes {
		folders = append(folders, each.folder)
	}
	for _, each := range a.n.nats.Servers {
		folders = append(folders, each.Folder())
	}
	for _, folder := range folders {
		control := filepath.Join(folder, "control")
		if err := os.WriteFile(control, []byte(base64.StdEncoding.EncodeToString([]byte(a.canaries["email"]))), 0o600); err != nil {
			a.t.Fatal(err)
		}
		found := scan(a.t, folder, a.canaries)
		if !slices.ContainsFunc(found, inControl) {
			a.t.Errorf("the scan of %s finds nothing at all", folder)
		}
		if found = slices.DeleteFunc(found, inControl); len(found) > 0 {
			a.t.Errorf("%s, %s has %v", when, folder, found)
		}
		if err := os.Remove(control); err != nil {
			a.t.Fatal(err)
		}
	}
	a.checkpoint()
	a.checkPostgres(when)
}

func inControl(found string) bool { return strings.HasSuffix(found, " in control") }

// checkPostgres: the payloads are encrypted, so that no file of Postgres ever holds anything, neither
// a table nor the write-ahead log. What is stored in clear is found in both.
func (a *nodesAviary) checkPostgres(when string) {
	a.t.Helper()
	const clear = "what is stored in clear"
	a.primary.Exec(a.t, `CREATE TABLE public.control AS SELECT '`+clear+`' AS text`)
	a.checkpoint()
	texts := map[string]string{"control": clear}
	for label, text := range a.canaries {
		texts[label] = text
	}
	for _, server := range []*postgrestest.Server{a.primary, a.standby} {
		found := scan(a.t, server.Folder(), texts)
		for _, place := range []string{" in base/", " in pg_wal/"} {
			if !slices.ContainsFunc(found, func(one string) bool { return strings.HasPrefix(one, "control") && strings.Contains(one, place) }) {
				a.t.Errorf("the scan of %s finds nothing%s: %v", server.Name, place, found)
			}
		}
		found = slices.DeleteFunc(found, func(one string) bool { return strings.HasPrefix(one, "control ") })
		if len(found) > 0 {
			a.t.Errorf("%s, the %s has %v", when, server.Name, found)
		}
	}
	a.primary.Exec(a.t, `DROP TABLE public.control`)
}

// wrapped returns the keys of accounts and credentials as they are stored, by the names of their
// streams.
func (a *nodesAviary) wrapped() map[string]string {
	a.t.Helper()
	conn, err := pgx.Connect(a.t.Context(), a.primary.URL())
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(a.t.Context(), `SELECT name, wrapped FROM keys.keys`)
	if err != nil {
		a.t.Fatal(err)
	}
	all := map[string]string{}
	var name string
	var key []byte
	if _, err := pgx.ForEachRow(rows, []any{&name, &key}, func() error {
		all[name] = string(key)
		return nil
	}); err != nil {
		a.t.Fatal(err)
	}
	return all
}

// parts finds 16 bytes of a wrapped key, because also a part of one would be too much.
func parts(wrapped map[string]string) *finder {
	var all finder
	for name, key := range wrapped {
		for at := 0; at+16 <= len(key); at += 16 {
			all.add(name, []byte(key[at:at+16]))
		}
	}
	return &all
}

// checkKeys: no bytes of the keys that were destroyed are left in a table of either server. They are
// gone from the write-ahead log once its segments were recycled and used again.
func (a *nodesAviary) checkKeys(before map[string]string) {
	a.t.Helper()
	destroyed := a.wrapped()
	for name, key := range before {
		if destroyed[name] == key {
			delete(before, name)
		}
	}
	if _, ok := before[string(events.AccountStream(ulid.MustParse(a.id)))]; !ok || len(before) != 5 { // as the proof says
		a.t.Errorf("the keys that were destroyed are %v", slices.Sorted(maps.Keys(before)))
	}
	keys := parts(before)
	left := func(in string) (found []string) {
		for _, server := range []*postgrestest.Server{a.primary, a.standby} {
			for _, one := range keys.walk(a.t, filepath.Join(server.Folder(), in)) {
				found = append(found, server.Name+": "+one)
			}
		}
		return found
	}
	a.checkpoint()
	if found := left("base"); len(found) > 0 {
		a.t.Errorf("destroyed keys are left in %v", found)
	}
	if len(left("pg_wal")) == 0 {
		a.t.Error("no key is in the write-ahead log: the test looks for the wrong bytes")
	}
	for _, server := range []*postgrestest.Server{a.primary, a.standby} {
		server.Exec(a.t, "ALTER SYSTEM SET wal_keep_size = 0")
		server.Exec(a.t, "SELECT pg_reload_conf()")
	}
	// A segment that is recycled gets another name and keeps its bytes, until it is written again.
	const most = 100
	for n := 1; ; n++ {
		a.primary.Exec(a.t, "SELECT pg_switch_wal()")
		a.checkpoint()
		found := left("pg_wal")
		if len(found) == 0 {
			a.t.Logf("no write-ahead log has a destroyed key after %d more segments", n)
			break
		}
		if n == most {
			a.t.Fatalf("after %d more segments, destroyed keys are left in %v", n, found)
		}
	}
	if found := left("."); len(found) > 0 {
		a.t.Errorf("destroyed keys are left in %v", found)
	}
}
