package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

// The headers that konto adds to a dead letter.
const (
	ownHeaders     = "konto-" // begins them
	headerReason   = "konto-reason"
	headerReceived = "konto-received" // when the fact arrived, RFC 3339
	headerFrom     = "konto-from"     // the sender's name
	headerID       = "konto-id"       // the fact's Nats-Msg-Id
	headerLength   = "konto-length"   // of the body, if it was cut
)

// The most that a dead letter holds of a message, in bytes. A sender's message may be as long as the
// stream accepts, and konto's own headers must still fit into the dead letter.
const (
	maxDeadBody    = 64 << 10
	maxDeadHeaders = 16 << 10
)

// ErrNoDeadLetter is returned when there is no dead letter with that sequence, or none any more.
var ErrNoDeadLetter = errors.New("no such dead letter")

// DeadLetter is a message that konto refused.
type DeadLetter struct {
	Sequence uint64 // among the dead letters
	Received time.Time
	From     string // the sender's name; "" on an outside server that does not say it
	Reason   string
	ID       string // the sender's id of the message, if any
	Body     []byte
	Length   int // of the body as it was sent; the rest of it is not kept
}

// StoreDeadLetter copies a message of the facts' stream to the dead letters, and returns once it is
// stored there. To store it again does no harm. Nothing happens if the fact is gone, because it was
// acknowledged before. Of a fact that names an erased account only the reason is stored.
func (i *Inbound) StoreDeadLetter(ctx context.Context, sequence uint64, reason string) error {
	if err := i.Open(ctx); err != nil { // the dead letters' stream may be gone
		return err
	}
	i.moving.Lock()
	defer i.moving.Unlock()
	stream, err := i.conn.js.Stream(ctx, subjects.FactsStream)
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
	if anyPart(raw, i.erased) {
		raw.Data, raw.Header = nil, nil
	}
	if _, err := i.conn.js.PublishMsg(ctx, newDeadLetter(raw, reason)); err != nil {
		return unavailable("store a dead letter", err)
	}
	return nil
}

func newDeadLetter(raw *jetstream.RawStreamMsg, reason string) *natsgo.Msg {
	m := natsgo.NewMsg(subjects.DeadLetters)
	m.Data = raw.Data[:min(len(raw.Data), maxDeadBody)]
	size := 0
	for name, values := range raw.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	if size <= maxDeadHeaders {
		m.Header = sendersHeaders(raw.Header)
	}
	if id := raw.Header.Get(jetstream.MsgIDHeader); id != "" && len(id) <= maxDeadHeaders {
		m.Header.Set(headerID, id)
	}
	m.Header.Set(headerReason, reason)
	m.Header.Set(headerReceived, raw.Time.UTC().Format(time.RFC3339Nano))
	m.Header.Set(headerFrom, Sender(raw.Subject))
	if len(raw.Data) > maxDeadBody {
		m.Header.Set(headerLength, strconv.Itoa(len(raw.Data)))
	}
	// The id is the same if the message is stored again after a crash. The sequence alone would be
	// another message's if the stream had to be made again.
	m.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%d-%d", raw.Time.UnixNano(), raw.Sequence))
	return m
}

// sendersHeaders are the headers that only concern the sender. JetStream would act on the others, or
// they would look like konto's.
func sendersHeaders(header natsgo.Header) natsgo.Header {
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

// Sender returns the name of who published on a subject of facts, "" if the subject has none.
func Sender(subject string) string {
	name, named := strings.CutPrefix(subject, subjects.Facts+".")
	if !named || !subjects.IsToken(name) {
		return ""
	}
	return name
}

// DeadLetters returns the last dead letters, at most limit, oldest first.
func (i *Inbound) DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error) {
	stream, err := i.conn.js.Stream(ctx, subjects.DeadLettersStream)
	if err != nil {
		return nil, unavailable("open the dead letters", err)
	}
	state := stream.CachedInfo().State
	all := make([]DeadLetter, 0, min(uint64(limit), state.Msgs))
	for at := state.LastSeq; at >= max(1, state.FirstSeq) && len(all) < cap(all); at-- {
		l, _, err := readDeadLetter(ctx, stream, at)
		if errors.Is(err, ErrNoDeadLetter) {
			continue // it was sent again, or is too old by now
		}
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	slices.Reverse(all)
	return all, nil
}

// Retry sends a dead letter again, as its sender did, behind all facts that wait, and deletes it. If
// it fails, the dead letter is still there, except that an error that matches ErrNoDeadLetter means
// that there was none.
func (i *Inbound) Retry(ctx context.Context, sequence uint64) error {
	i.moving.Lock()
	defer i.moving.Unlock()
	stream, err := i.conn.js.Stream(ctx, subjects.DeadLettersStream)
	if err != nil {
		return unavailable("open the dead letters", err)
	}
	l, raw, err := readDeadLetter(ctx, stream, sequence)
	if err != nil {
		return err
	}
	if l.Length > len(l.Body) {
		return errors.New("the message was too long, and is not kept as a whole")
	}
	again := &natsgo.Msg{Subject: subjects.Facts, Header: sendersHeaders(raw.Header), Data: raw.Data}
	if l.From != "" {
		again.Subject += "." + l.From
	}
	if l.ID != "" {
		again.Header.Set(jetstream.MsgIDHeader, l.ID)
	}
	// After a crash between the two steps the message is a fact and a dead letter. Its id keeps it
	// from being recorded twice.
	if _, err := i.conn.js.PublishMsg(ctx, again); err != nil {
		return unavailable("send a dead letter again", err)
	}
	if err := overwrite(ctx, stream, sequence); err != nil {
		return unavailable("remove a dead letter", err)
	}
	return nil
}

func readDeadLetter(ctx context.Context, stream jetstream.Stream, sequence uint64) (DeadLetter, *jetstream.RawStreamMsg, error) {
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
	// konto writes both headers. On an outside server others may store a dead letter without them.
	l.Received, _ = time.Parse(time.RFC3339Nano, raw.Header.Get(headerReceived))
	if n, err := strconv.Atoi(raw.Header.Get(headerLength)); err == nil {
		l.Length = n
	}
	return l, raw, nil
}
