package nats

import (
	"crypto/rand"
	"crypto/subtle"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// own is the user name of konto's connection. No consumer can bear it.
const own = "$konto"

// reserved names the durables of konto's own reactors.
var reserved = []string{"konto-deliveries", "konto-mailer", factsDurable}

// guard decides who may connect, and what they may do.
type guard struct {
	secret       string // of konto's own connection; made at start, never leaves the process
	authenticate func(token string) (string, bool)
	consumers    func() []string
	senders      func(token string) (string, bool)
	log          *slog.Logger
	srv          *server.Server // set before it starts

	// mu makes the reading of a client's rights and its registration one step.
	mu sync.Mutex
}

func newGuard(cfg ServerConfig) *guard {
	g := &guard{secret: rand.Text(), authenticate: cfg.Authenticate, consumers: cfg.Consumers, senders: cfg.AuthenticateSender, log: cfg.Log}
	nobody := func(string) (string, bool) { return "", false }
	if g.authenticate == nil {
		g.authenticate = nobody
	}
	if g.senders == nil {
		g.senders = nobody
	}
	if g.consumers == nil {
		g.consumers = func() []string { return nil }
	}
	return g
}

// Check lets a client in that shows konto's secret, a consumer's token or that
// of a sender of facts, as its token or as its password.
func (g *guard) Check(c server.ClientAuthentication) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	shown := c.GetOpts().Token
	if shown == "" {
		shown = c.GetOpts().Password
	}
	if subtle.ConstantTimeCompare([]byte(shown), []byte(g.secret)) == 1 {
		c.RegisterUser(&server.User{Username: own})
		return true
	}
	if name, ok := g.authenticate(shown); ok {
		return g.admitConsumer(c, name)
	}
	if name, ok := g.senders(shown); ok {
		return g.admitSender(c, name)
	}
	return false
}

// admitSender lets a sender of facts in. It is called with mu held.
func (g *guard) admitSender(c server.ClientAuthentication, name string) bool {
	if !usable(name) {
		g.log.Warn("sender's name cannot be used on NATS", "sender", name)
		return false
	}
	account, err := senderAccountOf(g.srv, name)
	if err != nil {
		g.log.Error("cannot make a sender's account", "sender", name, "error", err)
		return false
	}
	c.RegisterUser(&server.User{Username: SenderUser(name), Account: account, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{factsSubject}},
		Subscribe: &server.SubjectPermission{Allow: []string{inboxes}},
	}})
	return true
}

// admitConsumer lets a consumer in. It is called with mu held.
func (g *guard) admitConsumer(c server.ClientAuthentication, name string) bool {
	if !usable(name) {
		g.log.Warn("consumer's name cannot be used on NATS", "consumer", name)
		return false
	}
	consumers := g.consumers()
	if !slices.Contains(consumers, name) {
		return false // the list could not be read: without it the others' durables would be open
	}
	durables, err := g.durables()
	if err != nil {
		g.log.Error("cannot list the durable consumers", "error", err)
		return false
	}
	account, err := accountOf(g.srv, name)
	if err != nil {
		g.log.Error("cannot make a consumer's account", "consumer", name, "error", err)
		return false
	}
	c.RegisterUser(&server.User{
		Username: name, Account: account, Permissions: permissions(name, slices.Concat(consumers, durables, reserved)),
	})
	return true
}

// durables names the durable consumers that exist. One stays when its key is
// revoked, for the next key of that name.
func (g *guard) durables() ([]string, error) {
	info, err := g.srv.Jsz(&server.JSzOptions{Account: g.srv.GlobalAccount().Name, Consumer: true, Config: true})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, account := range info.AccountDetails {
		for _, stream := range account.Streams {
			for _, c := range stream.Consumer {
				if c.Config.Durable != "" {
					names = append(names, c.Name)
				}
			}
		}
	}
	return names, nil
}

// concerns tells whether a connected user is among the named ones, or is any
// consumer when none is named.
func (g *guard) concerns(user string, users []string) bool {
	if user == "" || user == own {
		return false
	}
	if len(users) == 0 {
		return !strings.HasPrefix(user, senderUserPrefix)
	}
	return slices.Contains(users, user)
}

// senderUserPrefix parts senders from consumers, whose names have no dot.
const senderUserPrefix = "inbound."

// SenderUser is what Disconnect calls a sender of facts.
func SenderUser(name string) string { return senderUserPrefix + name }

// inboxes are where clients want their answers.
const inboxes = "_INBOX.>"

// permissions lets a consumer use what its account imports, except the
// consumers on the stream that bear a name of somebody else: whoever may fetch
// from a durable takes its messages away.
func permissions(name string, taken []string) *server.Permissions {
	publish := &server.SubjectPermission{Allow: append([]string{
		// Not CONSUMER.CREATE.KONTO itself, whose request names the consumer in
		// its body alone.
		"$JS.API.CONSUMER.CREATE.KONTO.>",
	}, shared...)}
	for _, other := range taken {
		if other == name || !token(other) {
			continue
		}
		publish.Deny = append(publish.Deny,
			"$JS.API.CONSUMER.CREATE.KONTO."+other,
			"$JS.API.CONSUMER.CREATE.KONTO."+other+".>",
			"$JS.API.CONSUMER.INFO.KONTO."+other,
			"$JS.API.CONSUMER.MSG.NEXT.KONTO."+other,
			"$JS.API.CONSUMER.DELETE.KONTO."+other,
			"$JS.ACK.KONTO."+other+".>")
	}
	return &server.Permissions{
		Publish:   publish,
		Subscribe: &server.SubjectPermission{Allow: []string{subjects, replaySubjects, inboxes}},
	}
}

// usable tells whether a consumer or sender may bear the name.
func usable(name string) bool { return token(name) && !slices.Contains(reserved, name) }

// token tells whether a name is one plain token of a subject, so that no
// wildcard or separator in it widens or breaks a permission.
func token(name string) bool {
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return name != ""
}
