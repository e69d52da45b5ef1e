//go:build servers

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"konto/projections/natstest"
)

// proxied starts Caddy with the configuration of docker-compose.yml before the nodes, and returns
// its URL once it sends requests on.
func proxied(t *testing.T, nodes ...*node) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	text, folder := natstest.Fill(natstest.Composed(t, "caddy")), t.TempDir()
	was := []string{":8080 {", "http://" + address + " {"}
	for _, n := range nodes {
		was = append(was, "konto-"+n.name+":8080", n.http)
	}
	for i := 0; i < len(was); i += 2 {
		if !strings.Contains(text, was[i]) {
			t.Fatalf("docker-compose.yml has no %s", was[i])
		}
	}
	file := filepath.Join(folder, "Caddyfile")
	if err := os.WriteFile(file, []byte(strings.NewReplacer(was...).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	log := newWatched()
	caddy := exec.Command("caddy", "run", "--adapter", "caddyfile", "--config", file)
	caddy.Env = append(os.Environ(), "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
	caddy.Stderr = log
	caddy.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := caddy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		caddy.Process.Kill()
		caddy.Wait()
		if t.Failed() {
			t.Logf("caddy:\n%s", log)
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) { // only Caddy knows
		if answer, err := http.Get("http://" + address + "/healthz"); err == nil {
			answer.Body.Close()
			return "http://" + address
		}
		if time.Now().After(deadline) {
			t.Fatalf("caddy does not answer\n%s", log)
		}
	}
}

// visitor sends requests of all three contracts about one account, one after the other.
type visitor struct {
	url, key, client, payway string

	answered atomic.Int64
	http     *http.Client
}

// ask sends a request that has to succeed, and returns its answer.
func (v *visitor) ask(method, path, token, body string) (string, error) {
	r, err := http.NewRequest(method, v.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := v.http.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s %s: %s %s %w", method, path, answer.Status, text, err)
	}
	v.answered.Add(1)
	return string(text), nil
}

// visit changes the account's name through each contract, and reads it through each, until ctx ends.
func (v *visitor) visit(ctx context.Context) error {
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("Anna%d", i)
		const generic, hostup, payway = "/v1/account", "/api/v2/me", "/external/api/v1/accounts"
		for _, update := range []struct{ method, path, token, body string }{
			{"PATCH", hostup, v.key, `{"firstName":"` + name + `"}`},
			{"PATCH", generic, v.key, `{"name":"` + name + `b Ek"}`},
			{"PUT", payway, v.client, `{"id":"` + v.payway + `","first_name":"` + name + `c"}`},
		} {
			if _, err := v.ask(update.method, update.path, update.token, update.body); err != nil {
				return err
			}
		}
		for path, token := range map[string]string{hostup: v.key, generic: v.key, payway + "?id=" + v.payway: v.client} {
			if body, err := v.ask("GET", path, token, ""); err != nil {
				return err
			} else if !strings.Contains(body, name+"c") {
				return fmt.Errorf("GET %s does not show %sc: %s", path, name, body)
			}
		}
	}
	return nil
}

// leasesOf lists the leases that no other node gets yet. konto nodes shows only those of nodes that run.
func leasesOf(t *testing.T, store, node string) string {
	t.Helper()
	out, err := exec.Command("psql", store, "-Atc", "SELECT name FROM cluster.lease WHERE holder = '"+node+"' AND until > clock_timestamp()").CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// Nodes that are restarted in order, one by one, behind the proxy of docker-compose.yml: no request
// fails, and no read is older than what was acknowledged. A node that was stopped holds no lease.
func TestNodesAreRestartedWithoutAFailedRequest(t *testing.T) {
	n := newNodes(t, replicated(t))
	n.drain = true
	all := []*node{n.start(t, "a"), n.start(t, "b"), n.start(t, "c")}
	url := proxied(t, all...)
	client := n.must(t, "key", "issue", "--client", "crm", "--scope", "/external/account/r", "--scope", "/external/account/w")["token"].(string)
	var visitors []*visitor
	for i := range 8 {
		email, payway := fmt.Sprintf("anna%d@example.com", i), fmt.Sprintf("50f3ac249f6aef294d00000%d", i)
		n.must(t, "account", "open", "--email", email, "--payway-id", payway, "--first-name", "Anna", "--last-name", "Ek")
		key := n.must(t, "key", "issue", "--account", email, "--scope", "read:account", "--scope", "write:account")
		visitors = append(visitors, &visitor{url: url, key: key["token"].(string), client: client, payway: payway, http: &http.Client{Transport: &http.Transport{}}})
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for _, v := range visitors {
		load.Go(func() {
			if err := v.visit(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	defer load.Wait()
	defer stop()
	progress := func() {
		t.Helper()
		for i, v := range visitors {
			for before, deadline := v.answered.Load(), time.Now().Add(patience); v.answered.Load() < before+10 && !t.Failed(); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("client %d gets no answers", i)
				}
			}
		}
	}
	for _, each := range all {
		progress()
		each.stop(t)
		if held := leasesOf(t, n.store, each.name); held != "" {
			t.Errorf("node %s holds leases after it was stopped: %s", each.name, held)
		}
		progress()
		each.again(t)
	}
	progress()
}
