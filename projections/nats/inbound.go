package nats

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// factsSubject is where senders publish. An embedded server adds the
	// sender's name as one more token, which is who the message is from.
	factsSubject   = "konto.inbound.facts"
	senderSubjects = factsSubject + ".*"
	deadSubject    = "konto.inbound.dead"

	factsStream  = "KONTO_INBOUND"
	deadStream   = "KONTO_INBOUND_DEAD"
	factsDurable = "konto-inbound"

	// maxWaiting bounds the facts that wait to be recorded, and maxDead the dead
	// letters, in bytes.
	maxWaiting = 512 << 20
	maxDead    = 128 << 20

	// maxWaitingOfOne is how many facts of one sender may wait. The others' wait
	// behind them, so it bounds that delay, and with maxFact the room that one
	// sender takes: half of it all.
	maxWaitingOfOne = 2000

	// maxFact bounds a message with its headers. It is twice what the longest
	// body takes that is recorded; a body that is a little too long still comes
	// through, to be a dead letter.
	maxFact = 128 << 10

	// deadFor is how long a dead letter is kept.
	deadFor = 7 * 24 * time.Hour
)

// FactsSubject is what the reactor subscribes to.
const FactsSubject = "konto.inbound.>"

// Inbound is where facts of other systems arrive: the stream KONTO_INBOUND, and
// for those that konto refuses KONTO_INBOUND_DEAD.
type Inbound struct {
	conn      *Conn
	forgotten func(text []byte) bool
	log       *slog.Logger
	moving    sync.Mutex // held while a message is copied from one stream to the other
}

// NewInbound makes it; log may be nil. It does not touch NATS yet. forgotten tells
// whether a text names who was erased: of a message with one no letter is kept but
// that there was one, and why it was refused. nil: nobody was.
func NewInbound(conn *Conn, forgotten func(text []byte) bool, log *slog.Logger) *Inbound {
	if log == nil {
		log = slog.Default()
	}
	if forgotten == nil {
		forgotten = func([]byte) bool { return false }
	}
	return &Inbound{conn: conn, forgotten: forgotten, log: log}
}

// Open makes both streams, or changes them to what konto needs. What an operator
// may have set on an outside server, such as replicas, is kept.
func (i *Inbound) Open(ctx context.Context) error {
	// The dead letters' stream first: no message may come before it.
	if _, err := openStream(ctx, i.conn, i.conn.js, jetstream.StreamConfig{Name: deadStream, Storage: jetstream.FileStorage}, shapeDead); err != nil {
		return err
	}
	_, err := openStream(ctx, i.conn, i.conn.js, jetstream.StreamConfig{Name: factsStream, Storage: jetstream.FileStorage}, shapeFacts)
	return err
}

func shapeFacts(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Subjects = []string{factsSubject, senderSubjects}
	// What was handled is gone. If the consumer's state is lost, the next one
	// begins with what was never handled, and not with old facts, which it would
	// record over newer ones.
	cfg.Retention = jetstream.WorkQueuePolicy
	// A full stream refuses what comes, and its sender learns of it; to discard
	// old messages would lose them silently. So would an age.
	cfg.Discard = jetstream.DiscardNew
	cfg.MaxBytes = maxWaiting
	// The subject bears the sender's name.
	cfg.MaxMsgsPerSubject = maxWaitingOfOne
	cfg.DiscardNewPerSubject = true
	cfg.MaxMsgSize = maxFact
	cfg.MaxAge = 0
	// Ids are compared when a fact is recorded: for a day, within one sender,
	// and with the body. JetStream would compare them across senders, and of two
	// messages that are called the same drop one. Its window can be turned off
	// only on a stream that has a source; this one's filter matches nothing.
	cfg.Duplicates = 0
	cfg.Sources = []*jetstream.StreamSource{{Name: deadStream, FilterSubject: deadSubject + ".none"}}
	cfg.AllowDirect = false
	return cfg
}

func shapeDead(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Subjects = []string{deadSubject}
	cfg.Retention = jetstream.LimitsPolicy
	// The oldest go when it is full: what cannot be refused a place would hold up
	// all facts behind it. Each was logged when it came.
	cfg.Discard = jetstream.DiscardOld
	cfg.MaxBytes = maxDead
	cfg.MaxAge = deadFor
	cfg.AllowDirect = false
	return cfg
}

// Subscriber gives the facts, one after the other, as they came in. One that
// fails holds up the others: a newer fact of the account may be among them.
func (i *Inbound) Subscriber() *Subscriber {
	return NewSubscriber(SubscriberConfig{
		Conn: i.conn, Durable: factsDurable, Stream: factsStream, Open: i.Open, InOrder: true, Log: i.log,
	})
}
