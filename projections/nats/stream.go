package nats

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/events"
)

const (
	streamName = "KONTO"
	subjects   = events.SubjectPrefix + ">"

	// duplicateWindow is the server's shortest. Each message's expected sequence
	// already keeps it from being stored twice, and a long window would do harm:
	// the server answers "duplicate" for ids whose messages were purged since,
	// and does not store what has to be published again.
	duplicateWindow = 100 * time.Millisecond
)

// errUnavailable is matched by every error that NATS gave, so that waiting may
// help.
var errUnavailable = errors.New("NATS is not available")

func unavailable(doing string, err error) error {
	// The client says it in the words of a buffer, of which konto's has none.
	if errors.Is(err, natsgo.ErrReconnectBufExceeded) {
		return fmt.Errorf("%w: not connected", errUnavailable)
	}
	return fmt.Errorf("%w: %s: %w", errUnavailable, doing, err)
}

// tail is how the stream ends.
type tail struct {
	created  time.Time
	sequence uint64 // of the last message that was ever stored, removed or not
	messages uint64
	last     message
}

// message is the last one that is still in the stream.
type message struct {
	sequence uint64
	position uint64 // of its event, 0 when it is not an event of this log
}

// openStream returns the stream, made or changed to what konto needs. What an
// operator may have set on an outside server, such as replicas, is kept.
func (p *Publisher) openStream(ctx context.Context) (jetstream.Stream, error) {
	first := jetstream.StreamConfig{Name: streamName, Storage: jetstream.FileStorage, MaxConsumers: maxConsumers}
	if p.embedded {
		// Written within 8 ms, many messages at a time, instead of one by one: 2 µs
		// of 16 less for each. What a killed process takes along is published again.
		// Not on an outside server: a stream in this mode can never have replicas.
		first.PersistMode = jetstream.AsyncPersistMode
	}
	return openStream(ctx, p.js, first, p.shape)
}

// openStream makes a stream that begins as first, or changes the one that is
// there, so that shape has its way.
func openStream(ctx context.Context, js jetstream.JetStream, first jetstream.StreamConfig, shape func(jetstream.StreamConfig) jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, first.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, shape(first))
	} else if err == nil {
		have := stream.CachedInfo().Config
		if want := shape(have); !reflect.DeepEqual(have, want) {
			stream, err = js.UpdateStream(ctx, want)
		}
	}
	if err != nil {
		return nil, unavailable("open the stream", err)
	}
	return stream, nil
}

func (p *Publisher) shape(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Subjects = []string{subjects}
	cfg.Retention = jetstream.LimitsPolicy
	cfg.Discard = jetstream.DiscardOld
	cfg.MaxAge = p.retention
	cfg.Duplicates = duplicateWindow
	// A direct read may be answered by a replica that lags behind, and the
	// publisher would take that for a lost tail.
	cfg.AllowDirect = false
	return cfg
}

// readTail reads the stream's end. The last message is read after the state,
// so a message that lands between the two is counted in both.
func (p *Publisher) readTail(ctx context.Context, stream jetstream.Stream) (tail, error) {
	info := stream.CachedInfo()
	t := tail{created: info.Created, sequence: info.State.LastSeq, messages: info.State.Msgs}
	raw, err := stream.GetLastMsgForSubject(ctx, subjects)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		t.messages = 0
		return t, nil
	}
	if err != nil {
		return tail{}, unavailable("read the stream's last message", err)
	}
	t.sequence = max(t.sequence, raw.Sequence)
	t.messages = max(t.messages, 1)
	t.last.sequence = raw.Sequence
	t.last.position, err = p.identify(ctx, raw.Header)
	return t, err
}

// identify returns the position of a message's event, 0 when the log holds no
// such event there: the message is not konto's, or is of another log.
func (p *Publisher) identify(ctx context.Context, header natsgo.Header) (uint64, error) {
	position, err := strconv.ParseUint(header.Get("ce-position"), 10, 64)
	if err != nil || position == 0 {
		return 0, nil
	}
	event, err := eventAt(ctx, p.store, position)
	if err != nil || event.String() != header.Get("ce-id") {
		return 0, err
	}
	return position, nil
}
