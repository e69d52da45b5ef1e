package mail

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
	"konto/projections"
	"konto/projections/nats"
	"konto/projections/natsserver"
)

// fixture is a log that is published to an embedded NATS server, and read by reactors.
type fixture struct {
	t         *testing.T
	store     *eventstore.Store
	publisher *nats.Publisher
	published uint64
	cfg       Config
	handled   chan handled
	log       strings.Builder
}

type handled struct {
	event  string
	mailed bool
}

func newFixture(t *testing.T) *fixture {
	o := &fixture{t: t, handled: make(chan handled, 100)}
	dir, master := t.TempDir(), sha256.Sum256([]byte("a key for tests"))
	keys, err := keyring.Open(t.Context(), filepath.Join(dir, "keys.db"), master[:])
	o.must(err)
	t.Cleanup(func() { keys.Close() })
	log := memory.New()
	o.store = eventstore.NewStore(log, keys)
	model, err := projections.OpenReadModel(t.Context(), filepath.Join(dir, "read.db"), log, keys)
	o.must(err)
	t.Cleanup(func() { model.Close() })
	server, err := natsserver.Start(natsserver.Config{Dir: filepath.Join(dir, "nats"), Listen: "off", Key: master[:], Log: slog.New(slog.DiscardHandler)})
	o.must(err)
	t.Cleanup(server.Close)
	conn, err := nats.DialInProcess(nil, server.ClientOptions()...)
	o.must(err)
	t.Cleanup(conn.Close)
	o.publisher = nats.NewPublisher(nats.PublisherConfig{Conn: conn, Cursors: model, Store: o.store})
	o.cfg = Config{
		Subscriber: nats.NewSubscriber(nats.SubscriberConfig{Conn: conn, Durable: "konto-mailer"}),
		// The follower does not run, so every read folds the log.
		Accounts: &projections.Reader{Store: o.store, Model: model, Patience: time.Nanosecond,
			Follower: projections.NewFollower(projections.FollowerConfig{Store: o.store, Projection: model})},
		Codes: events.NewEmailCodes(o.store.Derive), Dir: filepath.Join(dir, "mail"),
		From:    "konto@example.com",
		Handled: func(event string, mailed bool) { o.handled <- handled{event, mailed} },
		Log:     slog.New(slog.NewTextHandler(&o.log, nil)),
	}
	return o
}

func (o *fixture) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// append stores payloads in an account's stream and returns the last event.
func (o *fixture) append(id ulid.ULID, payloads ...events.Payload) (last events.Event) {
	o.t.Helper()
	stream := events.AccountStream(id)
	head, err := o.store.StreamHead(o.t.Context(), stream)
	o.must(err)
	evs := make([]events.Event, len(payloads))
	for i, p := range payloads {
		evs[i], err = events.New(stream, head.Version+uint64(i)+1, ulid.Make(), time.Now(), events.Metadata{}, p)
		o.must(err)
	}
	_, err = o.store.Append(o.t.Context(), stream, head.Version, nil, evs)
	o.must(err)
	return evs[len(evs)-1]
}

func (o *fixture) open(language string) ulid.ULID {
	o.t.Helper()
	id := ulid.Make()
	o.append(id, events.AccountOpened{Email: "anna@example.com", Profile: events.ProfileUpdated{
		FirstName: events.Set("Canaryna"), LanguageCode: events.Set(language)}})
	return id
}

func requested(email string) events.EmailChangeRequested {
	return events.EmailChangeRequested{NewEmail: email, Request: ulid.Make(), ExpiresAt: time.Now().Add(time.Hour)}
}

// publish publishes what is new in the log.
func (o *fixture) publish() {
	o.t.Helper()
	batch, err := o.store.ReadAll(o.t.Context(), o.published, 1000)
	o.must(err)
	o.must(o.publisher.Apply(o.t.Context(), batch))
	o.published += uint64(len(batch))
}

// run starts a reactor, which ends with the test.
func (o *fixture) run() {
	o.t.Helper()
	r, err := New(o.cfg)
	o.must(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	o.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			o.t.Error(err)
		}
	})
}

// expect waits until the reactor handled an event.
func (o *fixture) expect(e events.Event, mailed bool) {
	o.t.Helper()
	if got := <-o.handled; got != (handled{e.ID.String(), mailed}) {
		o.t.Errorf("handled %+v, want %s mailed: %v", got, e.ID, mailed)
	}
}

func (o *fixture) files() (names []string) {
	o.t.Helper()
	entries, err := os.ReadDir(o.cfg.Dir)
	o.must(err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestMailIsOneFileInTheAccountsLanguage(t *testing.T) {
	for language, words := range map[string][]string{
		"sv":    {"Din kod =C3=A4r ", "=?UTF-8?q?Din_bekr=C3=A4ftelsekod?="},
		"sv-FI": {"Din kod =C3=A4r "},
		"de":    {"Ihr Code lautet "},
		"fr":    {"Your code is ", "Subject: Your confirmation code"},
		"svx":   {"Your code is "},
	} {
		t.Run(language, func(t *testing.T) {
			o := newFixture(t)
			request := requested("åsa@öberg.example")
			e := o.append(o.open(language), request)
			o.publish()
			o.run()
			o.expect(e, true)
			if got := o.files(); len(got) != 1 || got[0] != e.ID.String()+".eml" {
				t.Fatalf("files %s", got)
			}
			name := filepath.Join(o.cfg.Dir, e.ID.String()+".eml")
			content, err := os.ReadFile(name)
			o.must(err)
			text := string(content)
			words = append(words, o.cfg.Codes.Code(request.Request), "Message-ID: <"+e.ID.String()+"@example.com>",
				request.ExpiresAt.UTC().Format("2006-01-02 15:04 UTC"))
			for _, want := range words {
				if !strings.Contains(text, want) {
					t.Errorf("mail lacks %q:\n%s", want, text)
				}
			}
			for _, personal := range []string{"anna@", "Canaryna"} {
				if strings.Contains(text, personal) {
					t.Errorf("mail holds %s", personal)
				}
			}
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("file %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestOnlyThePendingRequestIsMailed(t *testing.T) {
	o := newFixture(t)
	cancelled, replaced, expired, erased := o.open("sv"), o.open("sv"), o.open("sv"), o.open("sv")
	first := o.append(cancelled, requested("a@example.com"))
	o.append(cancelled, events.EmailChangeCancelled{NewEmail: "a@example.com"})
	second := o.append(replaced, requested("b@example.com"))
	third := o.append(replaced, requested("c@example.com"))
	late := requested("d@example.com")
	late.ExpiresAt = time.Now()
	fourth := o.append(expired, late)
	fifth := o.append(erased, requested("e@example.com"))
	o.publish()
	o.append(erased, events.AccountErased{}) // the publisher would delete the message from NATS
	o.run()
	o.expect(first, false)
	o.expect(second, false)
	o.expect(third, true)
	o.expect(fourth, false)
	o.expect(fifth, false)
	if got := o.files(); len(got) != 1 || got[0] != third.ID.String()+".eml" {
		t.Errorf("files %s", got)
	}
}

// A client that can publish on NATS cannot have mail sent.
func TestForgedMessagesAreNotMailed(t *testing.T) {
	o := newFixture(t)
	id := o.open("sv")
	pending := requested("a@example.com")
	o.append(id, pending)
	r, err := New(o.cfg)
	o.must(err)
	for name, forged := range map[string]struct{ event, subject, body string }{
		"no headers":      {"", "", `{"newEmail":"x@example.com"}`},
		"another request": {ulid.Make().String(), id.String(), `{"newEmail":"x@example.com","request":"` + ulid.Make().String() + `","expiresAt":"2999-01-01T00:00:00Z"}`},
		"another account": {ulid.Make().String(), ulid.Make().String(), `{"request":"` + pending.Request.String() + `"}`},
		"no request":      {ulid.Make().String(), id.String(), `{"newEmail":"x@example.com"}`},
		"no JSON":         {ulid.Make().String(), id.String(), `x@example.com`},
	} {
		m := message.NewMessage(forged.event, []byte(forged.body))
		m.Metadata.Set("ce-id", forged.event)
		m.Metadata.Set("ce-subject", forged.subject)
		if err := r.handle(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := <-o.handled; got.mailed {
			t.Errorf("%s was mailed", name)
		}
	}
	if got := o.files(); len(got) != 0 {
		t.Errorf("files %s", got)
	}
	if strings.Contains(o.log.String(), "x@example.com") {
		t.Errorf("an address was logged: %s", o.log.String())
	}
}

func TestRedeliveredRequestMakesNoSecondFile(t *testing.T) {
	o := newFixture(t)
	id, request := o.open("sv"), requested("a@example.com")
	e := o.append(id, request)
	r, err := New(o.cfg)
	o.must(err)
	m := message.NewMessage(e.ID.String(), []byte(`{"request":"`+request.Request.String()+`"}`))
	m.Metadata.Set("ce-id", e.ID.String())
	m.Metadata.Set("ce-subject", id.String())
	for range 2 {
		o.must(r.handle(m))
		o.expect(e, true)
	}
	if got := o.files(); len(got) != 1 {
		t.Errorf("files %s", got)
	}
}

func TestSMTP(t *testing.T) {
	o := newFixture(t)
	s := newSMTPServer(t, "451 4.7.1 a@example.com is greylisted", "550 5.1.1 no b@example.com here")
	o.cfg.SMTPURL = s.url
	request := requested("a@example.com")
	put := o.append(o.open("sv"), request)
	gone := o.append(o.open("sv"), requested("b@example.com"))
	o.publish()
	o.run()
	o.expect(put, false)  // 451: comes again
	o.expect(gone, false) // 550: dropped
	o.expect(put, true)
	mail := <-s.mails
	for _, want := range []string{
		"MAIL FROM:<konto@example.com>", "RCPT TO:<a@example.com>", "To: <a@example.com>",
		"Message-ID: <" + put.ID.String() + "@example.com>", o.cfg.Codes.Code(request.Request),
	} {
		if !strings.Contains(mail, want) {
			t.Errorf("mail lacks %q:\n%s", want, mail)
		}
	}
	if log := o.log.String(); strings.Contains(log, "@example.com") || !strings.Contains(log, `msg="code was not mailed" event=`+gone.ID.String()) {
		t.Errorf("log is %s", log)
	}
	if len(s.mails) != 0 {
		t.Error("there is another mail")
	}
}

func TestDomainIsMailedToByItsALabel(t *testing.T) {
	for name, test := range map[string]struct {
		from, to   string
		utf8       bool // whether the server offers SMTPUTF8
		wants, not []string
	}{
		"without SMTPUTF8": {"konto@example.com", "anna@b\u00fccher.example", false,
			[]string{"RCPT TO:<anna@xn--bcher-kva.example>", "To: <anna@xn--bcher-kva.example>"}, nil},
		"with SMTPUTF8": {"konto@example.com", "anna@b\u00fccher.example", true,
			[]string{"RCPT TO:<anna@xn--bcher-kva.example>", "To: <anna@xn--bcher-kva.example>"}, []string{"SMTPUTF8"}},
		"in capitals and other dots": {"konto@example.com", "anna@B\u00dcCHER\u3002example", false,
			[]string{"RCPT TO:<anna@xn--bcher-kva.example>"}, nil},
		"an ASCII domain": {"konto@example.com", "anna@Example.com", true, []string{"RCPT TO:<anna@Example.com>"}, []string{"SMTPUTF8"}},
		"a local part that needs SMTPUTF8": {"konto@example.com", "jos\u00e9@b\u00fccher.example", true,
			[]string{"SMTPUTF8", "RCPT TO:<jos\u00e9@xn--bcher-kva.example>"}, nil},
		"a sender": {"Konto <konto@b\u00fccher.example>", "anna@example.com", false,
			[]string{"MAIL FROM:<konto@xn--bcher-kva.example>", "<konto@xn--bcher-kva.example>", "@xn--bcher-kva.example>\n"}, []string{"\u00fc"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newFixture(t)
			s := newSMTPServer(t)
			s.utf8 = test.utf8
			o.cfg.SMTPURL, o.cfg.From = s.url, test.from
			e := o.append(o.open("en"), requested(test.to))
			o.publish()
			o.run()
			o.expect(e, true)
			if t.Failed() {
				return
			}
			mail := <-s.mails
			for _, want := range test.wants {
				if !strings.Contains(mail, want) {
					t.Errorf("mail lacks %q:\n%s", want, mail)
				}
			}
			for _, not := range append(test.not, "b\u00fccher") {
				if strings.Contains(mail, not) {
					t.Errorf("mail has %q:\n%s", not, mail)
				}
			}
		})
	}
}

func TestMailToALocalPartThatTheServerDoesNotSupportIsDropped(t *testing.T) {
	o := newFixture(t)
	o.cfg.SMTPURL = newSMTPServer(t).url
	e := o.append(o.open("en"), requested("jos\u00e9@example.com"))
	o.publish()
	o.run()
	o.expect(e, false)
}

func TestConfigurationIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"nothing":        {},
		"another scheme": {SMTPURL: "http://user:secret@mail.example.com"},
		"no host":        {SMTPURL: "smtp://user:secret@"},
		"a path":         {SMTPURL: "smtp://user:secret@mail.example.com/x"},
		"a broken port":  {SMTPURL: "smtp://user:secret@mail.example.com:smtp"},
		"no sender":      {Dir: t.TempDir(), From: "konto"},
		"no such domain": {Dir: t.TempDir(), From: "konto@-b\u00fccher.example"},
		"an absurd port": {SMTPURL: "smtp://user:secret@mail.example.com:99999999"},
	} {
		_, err := New(cfg)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, good := range []string{"smtp://mail.example.com", "smtps://user:pass@mail.example.com:4650", "smtp://127.0.0.1:1025"} {
		if _, err := New(Config{SMTPURL: good}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}
