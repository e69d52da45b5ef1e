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
)

const (
	// ReplayPrefix begins the subjects of replayed events, unless the operator
	// chooses others. It is among those that consumers hear.
	ReplayPrefix = replays + "account."

	// replays begins all subjects of konto's own that replays may go to.
	replays        = "konto.replay."
	replaySubjects = replays + ">"

	// replayHeader tells a consumer that listens to everything what is history.
	replayHeader = "konto-replay"
)

// ErrReplayPrefix is matched by NewReplay's error when nothing may be replayed to
// the subjects. Nothing was published.
var ErrReplayPrefix = errors.New("subject prefix cannot be used")

// Replay publishes events again, on other subjects than those of the stream
// KONTO: that one expects each event once, in its order, and konto's own reactors
// follow it. It is for one goroutine.
type Replay struct {
	conn   *Conn
	prefix string
	stream string // that keeps what is replayed, "" for none
	acks   []jetstream.PubAckFuture
	before error // last error of the connection before the replay
}

// ReplayConfig configures NewReplay.
type ReplayConfig struct {
	Conn   *Conn  // required
	Prefix string // of the subjects, followed by <ULID>.<Type>; "" means ReplayPrefix
	// Account and Type tell which subjects will be used; "" means any.
	Account, Type string
}

// NewReplay finds out whether a stream, of an operator's on an outside server,
// keeps what will be replayed. If so, its acknowledgements are waited for.
// Otherwise only those hear of it who are subscribed.
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
	if slices.Contains([]string{streamName, factsStream, deadStream}, r.stream) {
		return nil, fmt.Errorf("%w: the stream %s keeps those subjects, which is konto's own", ErrReplayPrefix, r.stream)
	}
	return r, nil
}

// Stream names the stream that keeps what is replayed, "" if none does.
func (r *Replay) Stream() string { return r.stream }

// Publish sends an event. It is published when Flush has returned nil. ok is
// false for an event of which there is nothing to publish: a shredded one, or
// not an account's.
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
	// No Nats-Msg-Id: a stream would drop what is replayed twice within its
	// window, also after it was purged for that very reason. ce-id tells consumers.
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

// Flush returns when the server, or the stream, has all that was sent. After an
// error, any of what was sent since the last Flush may be missing.
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
	// Whoever may not publish is not told otherwise.
	if err := r.conn.nc.LastError(); err != r.before && errors.Is(err, natsgo.ErrPermissionViolation) {
		return unavailable("replay", natsgo.ErrPermissionViolation)
	}
	return nil
}

// replayPrefix checks a prefix and gives it its final dot. konto's own subjects
// mean something to konto, and those that begin with $ or _ to NATS.
func replayPrefix(prefix string) (string, error) {
	if prefix == "" {
		return ReplayPrefix, nil
	}
	prefix = strings.TrimSuffix(prefix, ".") + "."
	for part := range strings.SplitSeq(strings.TrimSuffix(prefix, "."), ".") {
		if !token(part) {
			return "", fmt.Errorf("%w: each of its parts, between dots, is made of letters, digits, - and _", ErrReplayPrefix)
		}
	}
	// A server closes the connection of who sends a line of 4 KiB, for good, and konto has no other.
	if len(prefix) > 256 {
		return "", fmt.Errorf("%w: it has %d bytes, more than 256", ErrReplayPrefix, len(prefix))
	}
	if strings.HasPrefix(prefix, "_") {
		return "", fmt.Errorf("%w: subjects that begin with _ are NATS's own", ErrReplayPrefix)
	}
	// NATS tells case apart: who writes KONTO. means the stream, and nobody would hear it.
	if first, _, _ := strings.Cut(prefix, "."); strings.EqualFold(first, "konto") && !strings.HasPrefix(prefix, replays) {
		return "", fmt.Errorf("%w: of the subjects under konto. only those under %s, in lower case, are for replays", ErrReplayPrefix, replays)
	}
	return prefix, nil
}

// anyOr is a token of a subject, where "" stands for any.
func anyOr(token string) string {
	if token == "" {
		return "*"
	}
	return token
}
