package main

import (
	"context"
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

	"github.com/go-json-experiment/json"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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

// published reads the position that the publisher reached before the server ended.
func published(t *testing.T, folder string) (reached, head uint64) {
	t.Helper()
	h, err := openHouse(t.Context(), houseConfig{folder: folder, holder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	value, err := h.model.Cursor(t.Context(), "publisher")
	if err != nil {
		t.Fatal(err)
	}
	var cursor struct {
		Position uint64 `json:"position"`
	}
	if err := json.Unmarshal(value, &cursor); err != nil {
		t.Fatalf("cursor %q: %v", value, err)
	}
	if head, err = h.store.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	return cursor.Position, head
}

func TestOrderedEndPublishesEverythingAcknowledged(t *testing.T) {
	folder := t.TempDir()
	server, url, _ := serve(t, folder)
	anna := newTenant(t, folder, "anna@example.com")
	for i := range 50 {
		rename(t, url, anna, fmt.Sprint("Anna", i))
	}
	if status := server.stop(); status != exitDone {
		t.Fatalf("ended with %d: %s", status, server.stderr)
	}
	if reached, head := published(t, folder); reached != head || head < 50 {
		t.Errorf("published up to %d of %d", reached, head)
	}
}

// NATS may be away for as long as it likes: the end does not wait for it for ever.
func TestOrderedEndWithNATSAway(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	folder := t.TempDir()
	server, url, nats := serve(t, folder, "--nats-url", "nats://secret@"+dead.Addr().String())
	if nats != "outside" || strings.Contains(server.stderr.String(), "secret") {
		t.Errorf("the log shows the URL: %s", server.stderr)
	}
	rename(t, url, newTenant(t, folder, "anna@example.com"), "Anna")
	began := time.Now()
	if status := server.stop(); status != exitDone {
		t.Fatalf("ended with %d: %s", status, server.stderr)
	}
	if took := time.Since(began); took > 3*drainTime {
		t.Errorf("took %s", took)
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
	began := time.Now()
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} { // of one kind the system may deliver one
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	err := cmd.Wait()
	if cmd.ProcessState.ExitCode() != exitFailed || time.Since(began) > drainTime {
		t.Errorf("ended with %v after %s: %s", err, time.Since(began), stderr)
	}
}

// outside collects account events as a consumer with its own key does.
func outside(t *testing.T, url, token string) (next func() jetstream.Msg) {
	t.Helper()
	conn, err := natsgo.Connect(url, natsgo.Token(token))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	consumer, err := js.OrderedConsumer(ctx, "KONTO", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(messages.Stop)
	context.AfterFunc(ctx, messages.Stop)
	return func() jetstream.Msg {
		t.Helper()
		m, err := messages.Next()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func TestEventsReachAConsumerAndDoSoAgainWhenItsFilesAreGone(t *testing.T) {
	folder := t.TempDir()
	server, url, nats := serve(t, folder)
	consumer := mustJSON(t, "key", "issue", "--data", folder, "--consumer", "billing")
	anna := newTenant(t, folder, "anna@example.com")
	rename(t, url, anna, "Anna")
	check := func(nats string) {
		t.Helper()
		next := outside(t, nats, consumer["token"].(string))
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

func TestRevokedConsumerIsCutOff(t *testing.T) {
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
