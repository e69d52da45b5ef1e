package natsserver

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"konto/projections/nats/subjects"
)

// ownUser is the user name of konto's connections. No consumer can have it.
const ownUser = "$konto"

// maxConnections bounds the connections of one consumer, and of one sender. Each needs a file
// descriptor of the process. maxSubscriptions bounds the subscriptions of one connection.
const (
	maxConnections   = 100
	maxSubscriptions = 1000
)

// inboxes are the subjects that clients have their answers sent to.
const inboxes = "_INBOX.>"

// Holder is the consumer, or the sender of facts, that a token belongs to.
type Holder struct {
	Name string
	Key  string // the key's id, for Server.Disconnect
	// Expires is when the key, and with it the connection, ends. Zero: never.
	Expires time.Time
}

// user is the user name of a connection. No Name has a dot.
func (h Holder) user() string { return h.Name + "." + h.Key }

// permissions decides who may connect, and what each connection may do.
type permissions struct {
	secret       string // of konto's own connections; made at start, never leaves the process
	authenticate func(token string) (Holder, bool)
	consumers    func() []string
	senders      func(token string) (Holder, bool)
	log          *slog.Logger
	srv          *server.Server // set before it starts

	// mu makes one step of reading a client's rights and registering the client.
	mu       sync.Mutex
	accounts map[string]*server.Account // by consumer
}

func newPermissions(cfg Config) *permissions {
	p := &permissions{
		secret: rand.Text(), authenticate: cfg.Authenticate, consumers: cfg.Consumers, senders: cfg.AuthenticateSender,
		log: cfg.Log, accounts: map[string]*server.Account{},
	}
	nobody := func(string) (Holder, bool) { return Holder{}, false }
	if p.authenticate == nil {
		p.authenticate = nobody
	}
	if p.senders == nil {
		p.senders = nobody
	}
	if p.consumers == nil {
		p.consumers = func() []string { return nil }
	}
	return p
}

// Check implements server.Authentication. It admits a client that shows konto's secret, or the token
// of a consumer or sender, as its token or as its password.
func (p *permissions) Check(c server.ClientAuthentication) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	shown := c.GetOpts().Token
	if shown == "" {
		shown = c.GetOpts().Password
	}
	if subtle.ConstantTimeCompare([]byte(shown), []byte(p.secret)) == 1 {
		c.RegisterUser(&server.User{Username: ownUser})
		return true
	}
	if holder, ok := p.authenticate(shown); ok {
		return p.admitConsumer(c, holder)
	}
	if holder, ok := p.senders(shown); ok {
		return p.admitSender(c, holder)
	}
	return false
}

// admitSender is called with mu held.
func (p *permissions) admitSender(c server.ClientAuthentication, holder Holder) bool {
	account := p.account("sender", holder.Name, senderAccount)
	if account == nil {
		return false
	}
	c.RegisterUser(&server.User{Username: holder.user(), Account: account, ConnectionDeadline: holder.Expires, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{subjects.Facts}},
		Subscribe: &server.SubjectPermission{Allow: []string{inboxes}},
	}})
	return true
}

// admitConsumer is called with mu held.
func (p *permissions) admitConsumer(c server.ClientAuthentication, holder Holder) bool {
	consumers := p.consumers()
	if !slices.Contains(consumers, holder.Name) {
		return false // the list could not be read, and without it this client could use the others' durables
	}
	durables, err := p.durables()
	if err != nil {
		p.log.Error("cannot list the durable consumers", "error", err)
		return false
	}
	account := p.account("consumer", holder.Name, consumerAccount)
	if account == nil {
		return false
	}
	p.accounts[holder.Name] = account
	c.RegisterUser(&server.User{
		Username: holder.user(), Account: account, ConnectionDeadline: holder.Expires,
		Permissions: consumerPermissions(holder.Name, slices.Concat(consumers, durables, subjects.Reserved)),
	})
	return true
}

// account returns the account of a consumer or sender, nil if it cannot have one or has as many
// connections as it may have.
func (p *permissions) account(kind, name string, open func(*server.Server, string) (*server.Account, error)) *server.Account {
	if !subjects.IsToken(name) || slices.Contains(subjects.Reserved, name) {
		p.log.Warn(kind+"'s name cannot be used on NATS", kind, name)
		return nil
	}
	account, err := open(p.srv, name)
	if err != nil {
		p.log.Error("cannot make a "+kind+"'s account", kind, name, "error", err)
		return nil
	}
	if account.NumLocalConnections() >= maxConnections {
		p.log.Warn("NATS client has too many connections", "account", account.Name, "most", maxConnections)
		return nil
	}
	return account
}

// durables names the durable consumers that exist. One stays when its key is revoked, for the next
// key with that name.
func (p *permissions) durables() ([]string, error) {
	info, err := p.srv.Jsz(&server.JSzOptions{Account: p.srv.GlobalAccount().Name, Consumer: true, Config: true})
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

// consumerPermissions allows a consumer to use what its account imports, except the names that others
// hold: a client that may pull from a durable takes its messages away.
func consumerPermissions(name string, held []string) *server.Permissions {
	publish := &server.SubjectPermission{Allow: slices.Clone(direct)}
	for _, r := range apiRequests {
		publish.Allow = append(publish.Allow, apiPrefix+r.subject)
	}
	for _, other := range held {
		if other != name && subjects.IsToken(other) {
			publish.Deny = append(publish.Deny, durableSubjects(other)...)
		}
	}
	return &server.Permissions{
		Publish:   publish,
		Subscribe: &server.SubjectPermission{Allow: []string{subjects.Accounts, subjects.Replays, inboxes}},
	}
}

// reserve denies a name to all other consumers that are connected, without ending their connections.
// What they publish to the name's subjects is mapped to a subject that no permission allows.
func (p *permissions) reserve(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for consumer, account := range p.accounts {
		if consumer == name {
			continue
		}
		for _, subject := range durableSubjects(name) {
			if err := account.AddMapping(subject, refusedPrefix+subject); err != nil {
				return fmt.Errorf("reserve %s: %w", subject, err)
			}
		}
	}
	return nil
}
