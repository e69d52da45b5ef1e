// Package subjects names the subjects, streams and durable consumers that konto uses on NATS. It
// is all that the client (konto/projections/nats) and the embedded server
// (konto/projections/natsserver) share.
package subjects

import "konto/events"

// The subjects that konto publishes to, and that consumers may subscribe to.
const (
	// Accounts are the subjects of account events.
	Accounts = events.SubjectPrefix + ">"

	// ReplayPrefix begins every subject of konto's own that replayed events may go to.
	ReplayPrefix = "konto.replay."

	// Replays are all subjects that begin with ReplayPrefix.
	Replays = ReplayPrefix + ">"
)

// The subjects of facts that other systems send.
const (
	// Facts is where senders publish. The embedded server appends the sender's name as one more
	// token, which identifies the sender.
	Facts = "konto.inbound.facts"

	// FactsOfSenders are the subjects of facts with a sender's name.
	FactsOfSenders = Facts + ".*"

	// DeadLetters is where konto stores the facts that it refused.
	DeadLetters = "konto.inbound.dead"

	// Inbound are all subjects above.
	Inbound = "konto.inbound.>"
)

// The streams.
const (
	Stream            = "KONTO"              // account events
	FactsStream       = "KONTO_INBOUND"      // facts that wait to be recorded
	DeadLettersStream = "KONTO_INBOUND_DEAD" // facts that konto refused
)

// FactsDurable is the durable consumer of FactsStream.
const FactsDurable = "konto-inbound"

// Reserved are the durable consumers of konto's own reactors. No key may have one of these names.
var Reserved = []string{"konto-deliveries", "konto-mailer", FactsDurable}

// IsToken reports whether name is one plain token of a subject: letters, digits, - and _. Then it
// holds no wildcard or separator that could widen or break a permission.
func IsToken(name string) bool {
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return name != ""
}
