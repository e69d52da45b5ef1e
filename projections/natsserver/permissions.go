package nats

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"slices"
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
	authenticate func(token string) (Holder, bool)
	consumers    func() []string
	senders      func(token string) (Holder, bool)
	log          *slog.Logger
	srv          *server.Server // set before it starts

	// mu makes the reading of a client's rights and its registration one step.
	mu       sync.Mutex
	accounts map[string]*server.Account // by consumer
}

// Holder is whom a token belongs to.
type Holder struct {
	Name string // of the consumer, or of the sender of facts
	Key  string // the key's id, for Server.Disconnect
}

// user is what the server calls a connection. No name has a dot.
func (h Holder) user() string { return h.Name + "." + h.Key }

// maxConnections bounds the connections of one consumer, and of one sender, each of
// which takes a file descriptor of the process. maxSubscriptions bounds the
// subscriptions of one connection.
const (
	maxConnections   = 100
	maxSubscriptions = 1000
)

func newGuard(cfg ServerConfig) *guard {
	g := &guard{secret: rand.Text(), authenticate: cfg.Authenticate, consumers: cfg.Consumers, senders: cfg.AuthenticateSender, log: cfg.Log, accounts: map[string]*server.Account{}}
	nobody := func(string) (Holder, bool) { return Holder{}, false }
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
	if holder, ok := g.authenticate(shown); ok {
		return g.admitConsumer(c, holder)
	}
	if holder, ok := g.senders(shown); ok {
		return g.admitSender(c, holder)
	}
	return false
}

// full tells whether an account has as many connections as it may have.
func (g *guard) full(account *server.Account) bool {
	if account.NumLocalConnections() < maxConnections {
		return false
	}
	g.log.Warn("NATS client has too many connections", "account", account.Name, "most", maxConnections)
	return true
}

// admitSender lets a sender of facts in. It is called with mu held.
func (g *guard) admitSender(c server.ClientAuthentication, holder Holder) bool {
	name := holder.Name
	if !usable(name) {
		g.log.Warn("sender's name cannot be used on NATS", "sender", name)
		return false
	}
	account, err := senderAccountOf(g.srv, name)
	if err != nil {
		g.log.Error("cannot make a sender's account", "sender", name, "error", err)
		return false
	}
	if g.full(account) {
		return false
	}
	c.RegisterUser(&server.User{Username: holder.user(), Account: account, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{factsSubject}},
		Subscribe: &server.SubjectPermission{Allow: []string{inboxes}},
	}})
	return true
}

// admitConsumer lets a consumer in. It is called with mu held.
func (g *guard) admitConsumer(c server.ClientAuthentication, holder Holder) bool {
	name := holder.Name
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
	g.accounts[name] = account
	if g.full(account) {
		return false
	}
	c.RegisterUser(&server.User{
		Username: holder.user(), Account: account, Permissions: permissions(name, slices.Concat(consumers, durables, reserved)),
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

// reserve takes the right to a name from the consumers that are connected, without
// ending their connections: what they publish to the name's subjects becomes a
// subject that no permission allows.
func (g *guard) reserve(name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for consumer, account := range g.accounts {
		if consumer == name {
			continue
		}
		for _, subject := range subjectsOf(name) {
			if err := account.AddMapping(subject, refusedPrefix+subject); err != nil {
				return fmt.Errorf("reserve %s: %w", subject, err)
			}
		}
	}
	return nil
}

// inboxes are where clients want their answers.
const inboxes = "_INBOX.>"

// permissions lets a consumer use what its account imports, except the
// consumers on the stream that bear a name of somebody else: whoever may fetch
// from a durable takes its messages away.
func permissions(name string, taken []string) *server.Permissions {
	publish := &server.SubjectPermission{Allow: slices.Clone(direct)}
	for _, r := range apiRequests {
		publish.Allow = append(publish.Allow, apiPrefix+r.subject)
	}
	for _, other := range taken {
		if other != name && token(other) {
			publish.Deny = append(publish.Deny, subjectsOf(other)...)
		}
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
