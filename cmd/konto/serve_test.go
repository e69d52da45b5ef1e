package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
)

var secondLine = regexp.MustCompile(`\n`)

// tenant is an account and a key of it.
type tenant struct{ id, token string }

func newTenant(t *testing.T, folder, email string) tenant {
	t.Helper()
	id := mustJSON(t, "account", "open", "--data", folder, "--email", email)["id"].(string)
	key := mustJSON(t, "key", "issue", "--data", folder, "--account", id, "--scope", "read:account", "--scope", "write:account")
	return tenant{id, key["token"].(string)}
}

func rename(t *testing.T, url string, a tenant, name string) {
	t.Helper()
	if status, body := send(t, "PATCH", url+"/api/v2/me", a.token, `{"firstName":"`+name+`"}`); status != 200 {
		t.Fatalf("answered %d %s", status, body)
	}
}

func TestStopPublishesEverythingAcknowledged(t *testing.T) {
	folder := t.TempDir()
	server, url, _ := serve(t, folder)
	anna := newTenant(t, folder, "anna@example.com")
	for i := range 50 {
		rename(t, url, anna, fmt.Sprint("Anna", i))
	}
	if status := server.stop(); status != exitDone {
		t.Fatalf("ended with %d: %s", status, server.stderr)
	}
	if n := checkPublished(t, folder); n != 51 {
		t.Errorf("%d events of the account were published", n)
	}
}

// NATS may be away for as long as it likes: the end does not wait for it for ever.
func TestStopDoesNotWaitForAnAbsentNATS(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	folder := t.TempDir()
	t.Setenv("KONTO_NATS_URL", "nats://secret@"+dead.Addr().String())
	server, url, nats := serve(t, folder)
	if nats != "outside" || strings.Contains(server.stderr.String(), "secret") {
		t.Errorf("the log shows the URL: %s", server.stderr)
	}
	rename(t, url, newTenant(t, folder, "anna@example.com"), "Anna")
	server.stderr.find(t, regexp.MustCompile("events wait for NATS in the log"))
	must(t, "account", "list", "--data", folder) // waits for the read model
	// It serves all the same, so health says it and stays well.
	status, health := send(t, "GET", url+"/healthz", "", "")
	for _, part := range []string{`{"status":"degraded","head":3,`, `"name":"read-model","state":"following","position":3}`, `"name":"publisher","state":"waiting for NATS","position":0}`} {
		if status != 200 || !strings.Contains(health, part) {
			t.Errorf("health is %d %s, without %s", status, health, part)
		}
	}
	if status := server.stop(); status != exitDone {
		t.Fatalf("ended with %d: %s", status, server.stderr)
	}
	if !strings.Contains(server.stderr.String(), "follower is behind") {
		t.Errorf("does not say what it left undone: %s", server.stderr)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	folder := furnished(t)
	cmd := exec.Command(binary(t), "serve", "--data", folder, "--http", "127.0.0.1:0", "--nats-url", "nats://127.0.0.1:1")
	stderr := newWatched()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.find(t, readyLine)
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} { // of one kind the system may deliver one
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	err := cmd.Wait()
	// An ordered end is another status, even with NATS away.
	if cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("ended with %v: %s", err, stderr)
	}
}

func TestConsumerReceivesEventsAgainAfterJetStreamIsDeleted(t *testing.T) {
	folder := t.TempDir()
	server, url, nats := serve(t, folder)
	consumer := mustJSON(t, "key", "issue", "--data", folder, "--consumer", "billing")
	anna := newTenant(t, folder, "anna@example.com")
	rename(t, url, anna, "Anna")
	check := func(nats string) {
		t.Helper()
		next := follow(t, jetStream(t, nats, consumer["token"].(string)))
		for _, name := range []string{"AccountOpened", "ProfileUpdated"} {
			if m := next(); m.Subject() != "konto.account."+anna.id+"."+name {
				t.Errorf("%s is not %s of %s", m.Subject(), name, anna.id)
			}
		}
	}
	check(nats)
	if status := server.stop(); status != exitDone {
		t.Fatalf("ended with %d: %s", status, server.stderr)
	}
	for _, gone := range []string{"jetstream", "read.db"} {
		if err := os.RemoveAll(filepath.Join(folder, gone)); err != nil {
			t.Fatal(err)
		}
	}
	_, url, nats = serve(t, folder)
	check(nats)
	if status, body := send(t, "GET", url+"/api/v2/me", anna.token, ""); status != 200 || !strings.Contains(body, `"firstName":"Anna"`) {
		t.Errorf("answered %d %s", status, body)
	}
}

func TestRevokedConsumerIsDisconnected(t *testing.T) {
	folder := t.TempDir()
	_, _, nats := serve(t, folder)
	key := mustJSON(t, "key", "issue", "--data", folder, "--consumer", "billing")
	cut := make(chan struct{})
	conn, err := natsgo.Connect(nats, natsgo.Token(key["token"].(string)),
		natsgo.NoReconnect(), natsgo.ClosedHandler(func(*natsgo.Conn) { close(cut) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	must(t, "key", "revoke", "--data", folder, key["id"].(string))
	select {
	case <-cut:
	case <-time.After(patience):
		t.Fatal("is still connected")
	}
	if _, err := natsgo.Connect(nats, natsgo.Token(key["token"].(string))); err == nil {
		t.Error("was let in again")
	}
}

func TestServeSaysWhichFileCannotLogInToNATS(t *testing.T) {
	for _, flags := range [][]string{
		{"--nats-creds", "none"}, {"--nats-nkey", "none"}, {"--nats-ca", "none"},
		{"--nats-cert", "none", "--nats-key", "none"}, {"--nats-domain", "a.b"},
	} {
		says := cmp.Or(map[string]string{"--nats-domain": "JetStream domain"}[flags[0]], "none")
		r := konto(t, append([]string{"serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--nats-url", "nats://127.0.0.1:1"}, flags...)...)
		if r.status != exitFailed || !strings.Contains(r.stderr, "connect to NATS: ") || !strings.Contains(r.stderr, says) {
			t.Errorf("%v: exit %d: %s", flags, r.status, r.stderr)
		}
	}
}

func TestKeyOfOneConsumerEndsNoOthersConnection(t *testing.T) {
	folder := t.TempDir()
	_, _, nats := serve(t, folder)
	lost := make(chan string, 9)
	connect := func(kind, name string) (id string, nc *natsgo.Conn) {
		key := mustJSON(t, "key", "issue", "--data", folder, kind, name)
		nc, err := natsgo.Connect(nats, natsgo.Token(key["token"].(string)), natsgo.NoReconnect(),
			natsgo.DisconnectErrHandler(func(*natsgo.Conn, error) { lost <- name }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return key["id"].(string), nc
	}
	revoked, _ := connect("--consumer", "billing")
	_, rotated := connect("--consumer", "billing")
	_, crm := connect("--consumer", "crm")
	sender, _ := connect("--inbound", "billing")
	for _, id := range []string{revoked, sender} {
		must(t, "key", "revoke", "--data", folder, id)
		select {
		case <-lost:
		case <-time.After(patience):
			t.Fatal("is still connected")
		}
	}
	for _, nc := range []*natsgo.Conn{rotated, crm} {
		if err := nc.FlushTimeout(patience); err != nil {
			t.Errorf("another connection: %v", err)
		}
	}
	if n := len(lost); n > 0 {
		t.Errorf("%d other connections were lost", n)
	}
}

// Commands and a server that start at the same moment wait for one another.
func TestCommandsAroundAStart(t *testing.T) {
	folder := furnished(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if r := konto(t, "account", "open", "--data", folder, "--email", fmt.Sprintf("a%d@example.com", i)); r.status != 0 {
				t.Error(r.stderr)
			}
		})
	}
	server, _, _ := serve(t, folder)
	all.Wait()
	if n := len(mustLines(t, "account", "list", "--data", folder)); n != 9 {
		t.Errorf("%d accounts", n)
	}
	if status := server.stop(); status != exitDone {
		t.Errorf("ended with %d: %s", status, server.stderr)
	}
}

// partOf finds what health says of a part of konto.
func partOf(t *testing.T, health, name string) map[string]any {
	t.Helper()
	for _, c := range object(t, health)["components"].([]any) {
		if c := c.(map[string]any); c["name"] == name {
			return c
		}
	}
	t.Fatalf("no %s in %s", name, health)
	return nil
}

// healthSays asks for health until it says something of a part of konto.
func healthSays(t *testing.T, url, name, state, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		_, health := send(t, "GET", url+"/healthz", "", "")
		c := partOf(t, health, name)
		if said, _ := c["error"].(string); c["state"] == state && strings.Contains(said, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("health is %s", health)
		}
	}
}

func TestHealthSaysWhyNATSCannotBeReached(t *testing.T) {
	strict, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, Username: "konto", Password: "another"})
	if err != nil {
		t.Fatal(err)
	}
	strict.Start()
	t.Cleanup(func() { strict.Shutdown(); strict.WaitForShutdown() })
	if !strict.ReadyForConnections(patience) {
		t.Fatal("the server does not answer")
	}
	t.Setenv("KONTO_NATS_URL", "nats://konto:hush@"+strict.Addr().String())
	server, url, _ := serve(t, t.TempDir())
	healthSays(t, url, "nats", "waiting for NATS", "does not take konto's password")
	healthSays(t, url, "inbound", "waiting for NATS", "NATS is not available")
	healthSays(t, url, "mailer", "waiting for NATS", "")
	status, health := send(t, "GET", url+"/healthz", "", "")
	if status != 200 || !strings.HasPrefix(health, `{"status":"degraded",`) || strings.Contains(health, "hush") {
		t.Errorf("health is %d %s", status, health)
	}
	if log := server.stderr.String(); strings.Count(log, "NATS cannot be reached") != 1 || strings.Contains(log, "hush") {
		t.Errorf("the log has %s", log)
	}
}

func TestHealthSaysWhyCodesAreNotMailed(t *testing.T) {
	folder := t.TempDir()
	_, url, _ := serve(t, folder, "--email-change-policy", "verify", "--smtp-url", "smtp://127.0.0.1:1")
	healthSays(t, url, "mailer", "running", "")
	anna := newTenant(t, folder, "anna@example.com")
	if status, body := send(t, "PATCH", url+"/v1/account", anna.token, `{"email":"anna@new.example"}`); status >= 300 {
		t.Fatalf("%d %s", status, body)
	}
	healthSays(t, url, "mailer", "retrying", "connect to the SMTP server")
	if status, health := send(t, "GET", url+"/healthz", "", ""); status != 200 || !strings.HasPrefix(health, `{"status":"degraded",`) {
		t.Errorf("health is %d %s", status, health)
	}
}

// nats-server stores nothing more in a stream after one failed write, and konto's
// answers do not show it: whoever runs konto has to start it again.
func TestHealthFailsWhenNATSStoppedWriting(t *testing.T) {
	folder := t.TempDir()
	_, url, broker := serve(t, folder)
	token := mustJSON(t, "key", "issue", "--inbound", "registry", "--data", folder)["token"].(string)
	nc, err := natsgo.Connect(broker, natsgo.Token(token))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	healthSays(t, url, "nats", "running", "")
	blocks := filepath.Join(folder, "jetstream", "jetstream", "$G", "streams", "KONTO_INBOUND", "msgs")
	if err := errors.Join(os.RemoveAll(blocks), os.WriteFile(blocks, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 400 { // more than fits the file that is open
		if err := nc.Publish("konto.inbound.facts", make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	healthSays(t, url, "nats", "stopped", "start konto again")
	if status, health := send(t, "GET", url+"/healthz", "", ""); status != 503 || !strings.HasPrefix(health, `{"status":"failing",`) {
		t.Errorf("health is %d %s", status, health)
	}
}
