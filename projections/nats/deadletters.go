package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The headers that konto adds to a dead letter.
const (
	ownHeaders     = "konto-" // begins them
	headerReason   = "konto-reason"
	headerReceived = "konto-received" // when the fact came in, RFC 3339
	headerFrom     = "konto-from"     // the sender's name
	headerID       = "konto-id"       // the fact's Nats-Msg-Id
	headerLength   = "konto-length"   // of the body, when it was cut
)

// What a dead letter holds of a message at most, in bytes. A sender's message
// may be as long as the stream takes, and a letter must still have room for
// what konto says of it.
const (
	maxLetter        = 64 << 10
	maxLetterHeaders = 16 << 10
)

// ErrNoDeadLetter tells that there is none with that sequence, or none any more.
var ErrNoDeadLetter = errors.New("no such dead letter")

// DeadLetter is a message that konto refused.
type DeadLetter struct {
	Sequence uint64 // among the dead letters
	Received time.Time
	From     string // sender's name; "" on an outside server without one
	Reason   string
	ID       string // the sender's id of it, if any
	Body     []byte
	Length   int // of the body as it was sent; the rest of it is not kept
}

// Bury copies a message of the facts' stream to the dead letters, and returns
// once it is stored there. To bury one again is harmless. What was settled
// before is left alone. Of one that names an erased account only the reason is stored.
func (i *Inbound) Bury(ctx context.Context, sequence uint64, reason string) error {
	if err := i.Open(ctx); err != nil { // the letters' stream may be gone
		return err
	}
	i.moving.Lock()
	defer i.moving.Unlock()
	stream, err := i.conn.js.Stream(ctx, factsStream)
	if err != nil {
		return unavailable("open the facts' stream", err)
	}
	raw, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return unavailable("read a fact", err)
	}
	if isAbout(raw, i.forgotten) {
		raw.Data, raw.Header = nil, nil
	}
	if _, err := i.conn.js.PublishMsg(ctx, bury(raw, reason)); err != nil {
		return unavailable("store a dead letter", err)
	}
	return nil
}

// bury makes a dead letter of a message.
func bury(raw *jetstream.RawStreamMsg, reason string) *natsgo.Msg {
	m := natsgo.NewMsg(deadSubject)
	m.Data = raw.Data[:min(len(raw.Data), maxLetter)]
	size := 0
	for name, values := range raw.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	if size <= maxLetterHeaders {
		m.Header = kept(raw.Header)
	}
	if id := raw.Header.Get(jetstream.MsgIDHeader); id != "" && len(id) <= maxLetterHeaders {
		m.Header.Set(headerID, id)
	}
	m.Header.Set(headerReason, reason)
	m.Header.Set(headerReceived, raw.Time.UTC().Format(time.RFC3339Nano))
	m.Header.Set(headerFrom, Sender(raw.Subject))
	if len(raw.Data) > maxLetter {
		m.Header.Set(headerLength, strconv.Itoa(len(raw.Data)))
	}
	// Buried again after a crash, it is known as the same. A sequence alone
	// would be another message's when the stream had to be made anew.
	m.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%d-%d", raw.Time.UnixNano(), raw.Sequence))
	return m
}

// kept are the headers that are a sender's own matter: JetStream would act on
// the others, or they would look like konto's.
func kept(header natsgo.Header) natsgo.Header {
	own := natsgo.Header(maps.Clone(header))
	maps.DeleteFunc(own, func(name string, _ []string) bool {
		name = strings.ToLower(name)
		return strings.HasPrefix(name, "nats-") || strings.HasPrefix(name, ownHeaders)
	})
	if own == nil {
		own = natsgo.Header{}
	}
	return own
}

// Sender is who published on a subject of facts, "" when it does not say.
func Sender(subject string) string {
	name, named := strings.CutPrefix(subject, factsSubject+".")
	if !named || !token(name) {
		return ""
	}
	return name
}

// DeadLetters returns the last ones, at most limit, in the order in which they
// came.
func (i *Inbound) DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error) {
	stream, err := i.conn.js.Stream(ctx, deadStream)
	if err != nil {
		return nil, unavailable("open the dead letters", err)
	}
	state := stream.CachedInfo().State
	letters := make([]DeadLetter, 0, min(uint64(limit), state.Msgs))
	for at := state.LastSeq; at >= max(1, state.FirstSeq) && len(letters) < cap(letters); at-- {
		letter, _, err := readLetter(ctx, stream, at)
		if errors.Is(err, ErrNoDeadLetter) {
			continue // was sent again, or is too old by now
		}
		if err != nil {
			return nil, err
		}
		letters = append(letters, letter)
	}
	for a, b := 0, len(letters)-1; a < b; a, b = a+1, b-1 {
		letters[a], letters[b] = letters[b], letters[a]
	}
	return letters, nil
}

// Retry sends a dead letter again, as its sender did, behind all facts that
// wait, and removes it. Its errors match ErrNoDeadLetter, or tell why it cannot
// be sent; then it is still there.
func (i *Inbound) Retry(ctx context.Context, sequence uint64) error {
	i.moving.Lock()
	defer i.moving.Unlock()
	stream, err := i.conn.js.Stream(ctx, deadStream)
	if err != nil {
		return unavailable("open the dead letters", err)
	}
	letter, raw, err := readLetter(ctx, stream, sequence)
	if err != nil {
		return err
	}
	if letter.Length > len(letter.Body) {
		return errors.New("the message was too long, and is not kept as a whole")
	}
	again := &natsgo.Msg{Subject: factsSubject, Header: kept(raw.Header), Data: raw.Data}
	if letter.From != "" {
		again.Subject += "." + letter.From
	}
	if letter.ID != "" {
		again.Header.Set(jetstream.MsgIDHeader, letter.ID)
	}
	if _, err := i.conn.js.PublishMsg(ctx, again); err != nil {
		return unavailable("send a dead letter again", err)
	}
	if err := overwrite(ctx, stream, sequence); err != nil {
		return unavailable("remove a dead letter", err)
	}
	return nil
}

func readLetter(ctx context.Context, stream jetstream.Stream, sequence uint64) (DeadLetter, *jetstream.RawStreamMsg, error) {
	raw, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, nil, ErrNoDeadLetter
	}
	if err != nil {
		return DeadLetter{}, nil, unavailable("read a dead letter", err)
	}
	l := DeadLetter{
		Sequence: raw.Sequence, From: raw.Header.Get(headerFrom), Reason: raw.Header.Get(headerReason),
		ID: raw.Header.Get(headerID), Body: raw.Data, Length: len(raw.Data),
	}
	// Both are konto's own; an outsider's letter on an outside server has them or not.
	l.Received, _ = time.Parse(time.RFC3339Nano, raw.Header.Get(headerReceived))
	if n, err := strconv.Atoi(raw.Header.Get(headerLength)); err == nil {
		l.Length = n
	}
	return l, raw, nil
}
