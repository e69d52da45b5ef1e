package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
	"konto/projections/nats/subjects"
)

const (
	// ReplayPrefix begins the subjects of replayed events unless the operator chooses another prefix.
	// Consumers may subscribe to these subjects.
	ReplayPrefix = subjects.ReplayPrefix + "account."

	// replayHeader marks replayed events for consumers that subscribe to everything.
	replayHeader = "konto-replay"
)

// ErrReplayPrefix is matched by NewReplay's error when nothing may be replayed to the subjects.
// Nothing was published.
var ErrReplayPrefix = errors.New("subject prefix cannot be used")

// Replay publishes events again, on other subjects than those of the stream KONTO. That stream
// expects each event once, in its order, and konto's own reactors follow it. Replay is for one
// goroutine.
type Replay struct {
	conn   *Conn
	prefix string
	stream string // that stores what is replayed, "" for none
	acks   []jetstream.PubAckFuture
	before error // the connection's last error before the replay
}

// ReplayConfig configures NewReplay.
type ReplayConfig struct {
	Conn   *Conn  // required
	Prefix string // of the subjects, followed by <ULID>.<Type>; "" means ReplayPrefix
	// Account and Type are those of the events that will be published; "" means any.
	Account, Type string
}

// NewReplay finds out whether a stream, which an operator made on an outside server, will store the
// replayed events. If so, Flush waits for its acknowledgements. Otherwise only subscribers receive
// them.
func NewReplay(ctx context.Context, cfg ReplayConfig) (*Replay, error) {
	prefix, err := replayPrefix(cfg.Prefix)
	if err != nil {
		return nil, err
	}
	r := &Replay{conn: cfg.Conn, prefix: prefix, before: cfg.Conn.nc.LastError()}
	subject := prefix + anyOr(cfg.Account) + "." + anyOr(cfg.Type)
	r.stream, err = cfg.Conn.js.StreamNameBySubject(ctx, subject)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, unavailable("look for a stream", err)
	}
	if slices.Contains([]string{subjects.Stream, subjects.FactsStream, subjects.DeadLettersStream}, r.stream) {
		return nil, fmt.Errorf("%w: the stream %s keeps those subjects, which is konto's own", ErrReplayPrefix, r.stream)
	}
	return r, nil
}

// Stream names the stream that stores the replayed events, "" if none does.
func (r *Replay) Stream() string { return r.stream }

// Publish sends an event. It is published when Flush has returned nil. ok is false if there is
// nothing to publish, because the event is shredded or is not an account's.
func (r *Replay) Publish(e events.Event) (ok bool, err error) {
	m, ok, err := events.Publish(e)
	if err != nil {
		return false, fmt.Errorf("publish event %s at position %d: %w", e.Type, e.Position, err)
	}
	if !ok {
		return false, nil
	}
	msg := &natsgo.Msg{
		Subject: r.prefix + strings.TrimPrefix(m.Subject, events.SubjectPrefix), Data: m.Data,
		Header: make(natsgo.Header, len(m.Headers)+1),
	}
	for _, h := range m.Headers {
		msg.Header[h[0]] = []string{h[1]}
	}
	// Nats-Msg-Id is left out: a stream would drop an event that is replayed twice within its
	// duplicate window, also after it was purged in order to replay. Consumers have ce-id.
	msg.Header[replayHeader] = []string{"true"}
	if r.stream == "" {
		if err := r.conn.nc.PublishMsg(msg); err != nil {
			return false, unavailable("replay", err)
		}
		return true, nil
	}
	ack, err := r.conn.js.PublishMsgAsync(msg)
	if err != nil {
		return false, unavailable("replay", err)
	}
	r.acks = append(r.acks, ack)
	return true, nil
}

// Flush returns when the server, or the stream, has received everything that was sent. After an
// error, any event that was sent since the last Flush may be missing.
func (r *Replay) Flush(ctx context.Context) error {
	acks := r.acks
	r.acks = nil
	for _, ack := range acks {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ack.Err():
			return unavailable("replay to stream "+r.stream, err)
		case <-ack.Ok():
		}
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := r.conn.nc.FlushWithContext(ctx); err != nil {
		return unavailable("replay", err)
	}
	// A client that may not publish learns of it in no other way.
	if err := r.conn.nc.LastError(); err != r.before && errors.Is(err, natsgo.ErrPermissionViolation) {
		return unavailable("replay", natsgo.ErrPermissionViolation)
	}
	return nil
}

// replayPrefix checks a prefix and appends a dot if it has none. konto uses its own subjects, and
// NATS those that begin with $ or _.
func replayPrefix(prefix string) (string, error) {
	if prefix == "" {
		return ReplayPrefix, nil
	}
	prefix = strings.TrimSuffix(prefix, ".") + "."
	for part := range strings.SplitSeq(strings.TrimSuffix(prefix, "."), ".") {
		if !subjects.IsToken(part) {
			return "", fmt.Errorf("%w: each of its parts, between dots, is made of letters, digits, - and _", ErrReplayPrefix)
		}
	}
	// A server closes the connection of a client that sends a line of 4 KiB, for good.
	if len(prefix) > 256 {
		return "", fmt.Errorf("%w: it has %d bytes, more than 256", ErrReplayPrefix, len(prefix))
	}
	if strings.HasPrefix(prefix, "_") {
		return "", fmt.Errorf("%w: subjects that begin with _ are NATS's own", ErrReplayPrefix)
	}
	// Subjects are case-sensitive: an operator who writes KONTO. means the stream, and no consumer
	// would receive the events.
	if first, _, _ := strings.Cut(prefix, "."); strings.EqualFold(first, "konto") && !strings.HasPrefix(prefix, subjects.ReplayPrefix) {
		return "", fmt.Errorf("%w: of the subjects under konto. only those under %s, in lower case, are for replays", ErrReplayPrefix, subjects.ReplayPrefix)
	}
	return prefix, nil
}

// anyOr returns a token of a subject, where "" means any.
func anyOr(token string) string {
	if token == "" {
		return "*"
	}
	return token
}
