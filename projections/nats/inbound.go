package nats

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

const (
	// maxWaiting bounds the facts that wait to be recorded, and maxDead the dead letters, in bytes.
	maxWaiting = 512 << 20
	maxDead    = 128 << 20

	// maxWaitingOfOne is how many facts of one sender may wait. Those of the others wait behind them,
	// so it bounds that delay. With maxFact it bounds the space that one sender uses: half of it all.
	maxWaitingOfOne = 2000

	// maxFact bounds a message with its headers. It is twice what the longest body that is recorded
	// needs. A body that is a little too long is still accepted, and becomes a dead letter.
	maxFact = 128 << 10

	// deadFor is how long a dead letter is kept.
	deadFor = 7 * 24 * time.Hour
)

// Inbound holds the facts of other systems: the stream KONTO_INBOUND, and KONTO_INBOUND_DEAD for
// those that konto refused.
type Inbound struct {
	conn   *Conn
	erased func(text []byte) bool
	log    *slog.Logger
	moving sync.Mutex // held while a message is copied from one stream to the other
}

// NewInbound makes an Inbound. It does not use NATS yet. erased reports whether a text names an
// erased account: of a message that does, only the reason is kept, as a dead letter without content.
// A nil erased means that nobody is erased. log may be nil.
func NewInbound(conn *Conn, erased func(text []byte) bool, log *slog.Logger) *Inbound {
	if log == nil {
		log = slog.Default()
	}
	if erased == nil {
		erased = func([]byte) bool { return false }
	}
	return &Inbound{conn: conn, erased: erased, log: log}
}

// Open makes both streams, or changes them to what konto needs. What else an operator has set on an
// outside server stays.
func (i *Inbound) Open(ctx context.Context) error {
	// The dead letters' stream comes first: no fact may arrive before it exists.
	dead := jetstream.StreamConfig{Name: subjects.DeadLettersStream, Storage: jetstream.FileStorage}
	if _, err := i.conn.openStream(ctx, dead, shapeDead); err != nil {
		return err
	}
	facts := jetstream.StreamConfig{Name: subjects.FactsStream, Storage: jetstream.FileStorage}
	_, err := i.conn.openStream(ctx, facts, shapeFacts)
	return err
}

func shapeFacts(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Subjects = []string{subjects.Facts, subjects.FactsOfSenders}
	// A fact that was handled is deleted. If the consumer's state is lost, the next one begins with
	// facts that were never handled. Old ones would be recorded over newer ones.
	cfg.Retention = jetstream.WorkQueuePolicy
	// A full stream refuses new messages, and their sender learns of it. To discard old messages, or
	// let them age out, would lose them silently.
	cfg.Discard = jetstream.DiscardNew
	cfg.MaxBytes = maxWaiting
	// The subject has the sender's name.
	cfg.MaxMsgsPerSubject = maxWaitingOfOne
	cfg.DiscardNewPerSubject = true
	cfg.MaxMsgSize = maxFact
	cfg.MaxAge = 0
	// Ids are compared when a fact is recorded: for a day, within one sender, and with the body.
	// JetStream would compare them across senders, and drop one of two messages with the same id. Its
	// window can be turned off only on a stream that has a source. The filter of this one matches
	// nothing.
	cfg.Duplicates = 0
	cfg.Sources = []*jetstream.StreamSource{{Name: subjects.DeadLettersStream, FilterSubject: subjects.DeadLetters + ".none"}}
	cfg.AllowDirect = false
	return cfg
}

func shapeDead(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Subjects = []string{subjects.DeadLetters}
	cfg.Retention = jetstream.LimitsPolicy
	// When the stream is full, the oldest are deleted. If it refused a dead letter instead, all facts
	// behind that one would wait. Each was logged when it was stored.
	cfg.Discard = jetstream.DiscardOld
	cfg.MaxBytes = maxDead
	cfg.MaxAge = deadFor
	cfg.AllowDirect = false
	return cfg
}

// Subscriber delivers the facts one after the other, in the order of the stream. One that fails holds
// up the others, because a newer fact of the same account may be among them.
func (i *Inbound) Subscriber() *Subscriber {
	return NewSubscriber(SubscriberConfig{
		Conn: i.conn, Durable: subjects.FactsDurable, Stream: subjects.FactsStream, Open: i.Open, InOrder: true, Log: i.log,
	})
}

// Count returns how many facts wait to be recorded, and how many dead letters there are.
func (i *Inbound) Count(ctx context.Context) (waiting, dead uint64, err error) {
	for name, n := range map[string]*uint64{subjects.FactsStream: &waiting, subjects.DeadLettersStream: &dead} {
		stream, err := i.conn.js.Stream(ctx, name)
		if err != nil {
			return 0, 0, unavailable("count inbound messages", err)
		}
		*n = stream.CachedInfo().State.Msgs // which was asked for just now
	}
	return waiting, dead, nil
}

// Delete deletes the dead letters, and the facts that wait, whose body or any header mentions
// something, and overwrites their bytes. It is for the names of an erased account. After an error
// some may be left. It may be repeated.
func (i *Inbound) Delete(ctx context.Context, mentions func(text []byte) bool) error {
	// A dead letter that is sent again while this looks through the facts was among the dead letters
	// before. A fact that becomes one meanwhile is among them afterwards.
	for _, name := range []string{subjects.DeadLettersStream, subjects.FactsStream, subjects.DeadLettersStream} {
		i.waitForMove()
		if err := i.deleteFrom(ctx, name, mentions); err != nil {
			return err
		}
	}
	return nil
}

// waitForMove waits for the message, if any, that is being copied from one stream to the other.
func (i *Inbound) waitForMove() {
	i.moving.Lock()
	defer i.moving.Unlock()
}

func (i *Inbound) deleteFrom(ctx context.Context, name string, mentions func(text []byte) bool) error {
	stream, err := i.conn.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return unavailable("open inbound messages", err)
	}
	for at := uint64(1); ; at++ {
		m, err := stream.GetMsg(ctx, at, jetstream.WithGetMsgSubject(subjects.Inbound))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return unavailable("read inbound messages", err)
		}
		if at = m.Sequence; !anyPart(m, mentions) {
			continue
		}
		if err := overwrite(ctx, stream, at); err != nil {
			return unavailable("remove an inbound message", err)
		}
	}
}

// anyPart reports whether the body or any header of a message mentions something.
func anyPart(m *jetstream.RawStreamMsg, mentions func(text []byte) bool) bool {
	if mentions(m.Data) {
		return true
	}
	for _, values := range m.Header {
		for _, value := range values {
			if mentions([]byte(value)) {
				return true
			}
		}
	}
	return false
}
