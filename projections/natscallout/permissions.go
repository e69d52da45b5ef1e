package natscallout

import (
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"konto/projections/nats/subjects"
)

// Client is the consumer, or the sender of facts, that a token belongs to.
type Client struct {
	Name   string
	Key    string // the key's id
	Sender bool   // it sends facts, and does not consume
	// Expires is when the key ends, and its connections with it. Zero: never.
	Expires time.Time
}

// InboxPrefix returns how the subjects begin that a client of that name may have answers sent to. It
// must be set in the client ("custom inbox prefix").
//
// All consumers share an account, and so do all senders. With the usual prefix, each could read
// what is sent to the others.
func InboxPrefix(name string) string { return "_INBOX_" + name }

// usable reports whether a client's name can be used on NATS.
func (c Client) usable() bool {
	return subjects.IsToken(c.Name) && !slices.Contains(subjects.Reserved, c.Name)
}

// permissions of a client. It has answers sent to its own inboxes, and subscribes to nothing else:
// another client of the account can send its own answers to any other subject of the account, and
// what comes to konto.account.> there may be forged.
//
// A consumer uses one durable, with its own name. A permission cannot tell a new name from that of
// another consumer's durable.
func (c Client) permissions() (p jwt.Permissions) {
	p.Sub.Allow.Add(InboxPrefix(c.Name) + ".>")
	if c.Sender {
		p.Pub.Allow.Add(subjects.Facts + "." + c.Name)
		return p
	}
	p.Pub.Allow.Add(
		"$JS.API.INFO",
		"$JS.API.STREAM.INFO.KONTO",
		"$JS.API.CONSUMER.CREATE.KONTO."+c.Name,
		"$JS.API.CONSUMER.CREATE.KONTO."+c.Name+".>", // with a filter
		"$JS.API.CONSUMER.INFO.KONTO."+c.Name,
		"$JS.API.CONSUMER.MSG.NEXT.KONTO."+c.Name,
		"$JS.ACK.KONTO."+c.Name+".>",
	)
	return p
}
