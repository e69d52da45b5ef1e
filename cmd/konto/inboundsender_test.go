package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
)

func TestSendersKeyCanOnlySend(t *testing.T) {
	folder := t.TempDir()
	_, url, nats := serve(t, folder)
	registry := newSender(t, folder, nats, "registry")
	token := registry.key["token"].(string)
	for _, path := range []string{"/v1/account", "/api/v2/me", "/external/api/v1/accounts"} {
		if status, body := send(t, "GET", url+path, token, ""); status != 401 && status != 403 {
			t.Errorf("%s was answered %d %s", path, status, body)
		}
	}
	for _, subject := range []string{"$JS.API.INFO", "$JS.API.STREAM.INFO.KONTO", "konto.account.x.EmailChanged", "konto.inbound.dead", "konto.inbound.facts.billing"} {
		failed := make(chan error, 1)
		registry.conn.SetErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { failed <- err })
		if err := registry.conn.PublishRequest(subject, registry.conn.NewInbox(), nil); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-failed:
			if !strings.Contains(err.Error(), "Permissions Violation") {
				t.Errorf("%s: %v", subject, err)
			}
		case <-time.After(patience):
			t.Errorf("%s was not refused", subject)
		}
	}
	listed := mustLines(t, "key", "list", "--data", folder)
	if len(listed) != 1 || listed[0]["kind"] != "inbound" || listed[0]["name"] != "registry" {
		t.Errorf("listed %v", listed)
	}
	cut := make(chan struct{})
	registry.conn.SetDisconnectErrHandler(func(*natsgo.Conn, error) { close(cut) })
	must(t, "key", "revoke", "--data", folder, registry.key["id"].(string))
	select {
	case <-cut:
	case <-time.After(patience):
		t.Fatal("is still connected")
	}
	if _, err := natsgo.Connect(nats, natsgo.Token(token)); err == nil {
		t.Error("was let in again")
	}
}

// An outside server's operator decides who may send; konto takes the subjects as
// they are.
func TestFactsOverAnOutsideServer(t *testing.T) {
	t.Parallel()
	outside, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	outside.Start()
	t.Cleanup(func() { outside.Shutdown(); outside.WaitForShutdown() })
	if !outside.ReadyForConnections(patience) {
		t.Fatal("the outside server does not answer")
	}
	folder := t.TempDir()
	running, _, _ := serve(t, folder, "--nats-url", outside.ClientURL())
	id := mustJSON(t, "account", "open", "--data", folder, "--email", "anna@example.com")["id"].(string)
	tail := start(t, "events", "tail", "--after", "0", "--data", folder, "--json", "--type", "FactsRecorded")
	js := jetStream(t, outside.ClientURL(), "")
	publish := func(subject, body string) {
		t.Helper()
		for { // until the stream is made
			if _, err := js.Publish(t.Context(), subject, []byte(body)); err == nil {
				return
			} else if t.Context().Err() != nil {
				t.Fatal(err)
			}
		}
	}
	publish(factsSubject+".registry", `{"account":"`+id+`","activeDomains":1}`)
	publish(factsSubject, `{"account":"`+id+`","activeDomains":2}`)
	tail.stdout.find(t, regexp.MustCompile(`"id":"registry".*"activeDomains":1(?s:.*)"kind":"inbound"}.*"activeDomains":2`))
	// With NATS away the end is still an ordered one.
	outside.Shutdown()
	outside.WaitForShutdown()
	if status := running.stop(); status != exitDone {
		t.Errorf("ended with %d: %s", status, running.stderr)
	}
}

// TestFactsOfTheGuideAreRecorded runs the commands and the Go code of the guide to facts.
func TestFactsOfTheGuideAreRecorded(t *testing.T) {
	const usual = "nats://127.0.0.1:4222"
	folder := t.TempDir()
	_, _, nats := serve(t, folder)
	must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
	issue, _, _ := strings.Cut(readmeBlock(t, "Facts from other systems", "sh"), "#")
	args := append(strings.Fields(issue)[1:], "--data", folder)
	code := readmeBlock(t, "Facts from other systems", "go")
	if !strings.Contains(code, usual) {
		t.Fatalf("the guide does not connect to %s", usual)
	}
	program := `package main

import (
	"context"
	"log"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	ctx, token := context.Background(), os.Args[1]
` + strings.ReplaceAll(code, usual, nats) + `
	if err != nil {
		log.Fatal(err)
	}
}
`
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	next := recorded(t, folder, nats)
	token := mustJSON(t, args...)["token"].(string)
	if out, err := exec.Command("go", "run", source, token).CombinedOutput(); err != nil {
		t.Fatalf("the guide's Go code: %v\n%s", err, out)
	}
	if got := next(); got != `{"activeDomains":3}` { // no order was pending
		t.Errorf("recorded %s", got)
	}
}
