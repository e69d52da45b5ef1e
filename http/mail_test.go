package http

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/projections"
	"konto/projections/mail"
	"konto/projections/nats"
	"konto/projections/natsserver"
)

// post is a harness whose events are published and whose codes are mailed.
type post struct {
	*harness
	dir     string
	handled chan string // events that reached the reactor
}

func newPost(t *testing.T) *post {
	h := newHarness(t)
	dir := t.TempDir()
	key := sha256.Sum256([]byte("files of NATS"))
	server, err := natsserver.Start(natsserver.Config{Dir: filepath.Join(dir, "nats"), Listen: "off", Key: key[:]})
	h.must(err)
	t.Cleanup(server.Close)
	conn, err := nats.DialInProcess(nil, server.ClientOptions()...)
	h.must(err)
	t.Cleanup(conn.Close)
	publisher := nats.NewPublisher(nats.PublisherConfig{Conn: conn, Cursors: h.cfg.Access, Store: h.store})
	h.background(projections.NewFollower(projections.FollowerConfig{Name: "publisher", Store: h.store, Projection: publisher}).Run)
	p := &post{harness: h, dir: filepath.Join(dir, "mail"), handled: make(chan string, 100)}
	reactor, err := mail.New(mail.Config{
		Subscriber: nats.NewSubscriber(nats.SubscriberConfig{Conn: conn, Durable: "konto-mailer"}),
		Accounts:   h.cfg.Reader, Codes: events.NewEmailCodes(h.store.Derive), Dir: p.dir,
		Handled: func(event string, _ bool) { p.handled <- event },
	})
	h.must(err)
	h.background(reactor.Run)
	return p
}

// background runs a function until the test ends.
func (h *harness) background(run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
}

// delivered waits for the mail of the account's pending request. It returns all
// mails that were written until then, and the other events that reached the reactor.
// Messages are handled in the order of the log.
func (p *post) delivered(account ulid.ULID) (mails map[string]string, others []string) {
	p.t.Helper()
	evs, err := p.store.ReadStream(p.t.Context(), events.AccountStream(account), 0, 100)
	p.must(err)
	awaited := evs[len(evs)-1].ID.String()
	for event := range p.handled {
		if event == awaited {
			break
		}
		others = append(others, event)
	}
	names, err := filepath.Glob(filepath.Join(p.dir, "*.eml"))
	p.must(err)
	mails = map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		p.must(err)
		mails[filepath.Base(name)] = string(text)
	}
	return mails, others
}

// TestUserIsNotToldOfADirectEmailChange changes addresses directly and opens accounts
// in every way, before the one request whose code is mailed. If any of them sent a
// mail, there would be more than one.
func TestUserIsNotToldOfADirectEmailChange(t *testing.T) {
	p := newPost(t)
	anna := p.open("anna", commands.Open{Email: "anna@example.com", PaywayID: "50f3ac249f6aef294d000007"})
	p.key("key", events.KeyIssued{Account: anna, Scopes: []string{"read:account", "write:account"}})
	p.key("client", events.KeyIssued{Client: "adeprimo", Scopes: []string{"/external/account/w"}})
	for _, request := range []struct{ method, path, key, body string }{
		{"PUT", "/external/api/v1/accounts", "client", `{"id":"50f3ac249f6aef294d000007","email":"one@example.com"}`},
		{"PUT", "/external/api/v0/accounts", "client", `{"id":"50f3ac249f6aef294d000007","email":"two@example.com"}`},
		{"PATCH", "/v1/account", "key", `{"email":"three@example.com"}`},
	} {
		if status, answer := p.send(request.method, request.path, request.key, strings.NewReader(request.body)); status != 200 {
			t.Fatalf("%s: %d %s", request.path, status, answer)
		}
	}
	operator := events.Metadata{Actor: events.Actor{Kind: "operator"}, Contract: "cli"}
	_, err := p.accounts.Do(t.Context(), anna, operator, &commands.Update{Email: events.Set("four@example.com")})
	p.must(err)
	imported := ulid.Make()
	_, err = p.accounts.Do(t.Context(), imported, operator, commands.Open{
		Email: "imported@example.com", PaywayID: "50f3ac249f6aef294d000008", PasswordHash: "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$TUhCoV6YH8thtZpQqRp0JvQQ5ZYgiLA0LYApKDG6qtM",
	})
	p.must(err)

	p.must2(p.send("POST", "/api/v2/me/actions/change-email", "key", strings.NewReader(`{"newEmail":"asked@example.com"}`)))
	mails, others := p.delivered(anna)
	if len(mails) != 1 {
		t.Errorf("%d mails, want that of the request alone", len(mails))
	}
	if len(others) > 0 {
		t.Errorf("%d other events reached the reactor", len(others))
	}
	for name, mail := range mails {
		if !strings.Contains(mail, "To: <asked@example.com>") {
			t.Errorf("%s is\n%s", name, mail)
		}
	}
}

// must2 fails the test unless a request succeeded.
func (h *harness) must2(status int, answer string) string {
	h.t.Helper()
	if status != 200 {
		h.t.Fatalf("%d %s", status, answer)
	}
	return answer
}

// TestMailedCodeConfirmsTheChange also checks that the code is only in the mail.
func TestMailedCodeConfirmsTheChange(t *testing.T) {
	p := newPost(t)
	anna := p.open("anna", commands.Open{Email: "anna@example.com"})
	p.key("key", events.KeyIssued{Account: anna, Scopes: []string{"read:account", "write:account"}})
	p.must2(p.send("POST", "/api/v2/me/actions/change-email", "key", strings.NewReader(`{"newEmail":"asked@example.com"}`)))
	var code string
	mails, _ := p.delivered(anna)
	for _, mail := range mails {
		code = regexp.MustCompile(`\b[0-9]{6}\b`).FindString(mail)
	}
	for _, e := range p.since(0) {
		if strings.Contains(string(e.Data), code) {
			t.Errorf("%s holds the code", e.Type)
		}
	}
	confirmation, err := json.Marshal(map[string]string{"code": code})
	p.must(err)
	answer := p.must2(p.send("POST", "/api/v2/me/actions/confirm-email-change", "key", strings.NewReader(string(confirmation))))
	if !strings.Contains(answer, `"email":"asked@example.com"`) {
		t.Errorf("answer is %s", answer)
	}
}
