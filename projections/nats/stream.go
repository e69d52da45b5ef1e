package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	return openStream(ctx, p.conn, p.js, first, p.shape)
}

// openStream makes a stream that begins as first, or changes the one that is
// there, so that shape has its way.
func openStream(ctx context.Context, c *Conn, js jetstream.JetStream, first jetstream.StreamConfig, shape func(jetstream.StreamConfig) jetstream.StreamConfig) (jetstream.Stream, error) {
	name := first.Name
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, shape(first))
		if noRoom(err) {
			return nil, unavailable("open the stream", fmt.Errorf("it has no room for the stream %s, which reserves %d MiB: %w", name, shape(first).MaxBytes>>20, err))
		}
	} else if err == nil {
		have := stream.CachedInfo().Config
		if c.streams.known(have) {
			return stream, nil
		}
		if err := impossible(have); err != nil {
			return nil, unavailable("open the stream", err)
		}
		want := shape(have)
		if !reflect.DeepEqual(have, want) {
			if stream, err = js.UpdateStream(ctx, want); err != nil {
				return nil, unavailable("open the stream", fmt.Errorf("the stream %s cannot be changed to what konto needs (%s): %w",
					name, strings.Join(differences(have, want), ", "), err))
			}
		}
		var changed, left []string
		if !c.embedded { // else nobody but konto made it
			changed, left = differences(have, want), differences(want, shape(first))
		}
		c.streams.found(c.outage.log, stream.CachedInfo().Config, changed, left)
	}
	if err != nil {
		return nil, unavailable("open the stream", err)
	}
	return stream, nil
}

// noRoom tells that what a stream reserves is more than the server or konto's
// account has left.
func noRoom(err error) bool {
	var refused *jetstream.APIError
	const storageResourcesExceeded = 10047
	return errors.As(err, &refused) && refused.ErrorCode == storageResourcesExceeded
}

// impossible tells why nothing can be published to a stream that somebody made,
// which no change mends. Others that cannot be changed, the server refuses.
func impossible(cfg jetstream.StreamConfig) error {
	is := ""
	switch {
	case cfg.Mirror != nil:
		is = "mirrors another stream"
	case cfg.Sealed:
		is = "is sealed"
	case cfg.AllowMsgCounter:
		is = "counts, and keeps no events"
	default:
		return nil
	}
	return fmt.Errorf("the stream %s, which konto did not make, %s: remove it, or give konto another account", cfg.Name, is)
}

// streams remembers how the streams are configured, and what of it konto did not choose.
type streams struct {
	mu       sync.Mutex
	configs  map[string]jetstream.StreamConfig
	warnings map[string]string
}

// known tells whether found was called with the configuration before.
func (s *streams) known(cfg jetstream.StreamConfig) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return reflect.DeepEqual(s.configs[cfg.Name], cfg)
}

// found logs what konto changed of a stream, and what it left although it would
// have chosen otherwise.
func (s *streams) found(log *slog.Logger, cfg jetstream.StreamConfig, changed, left []string) {
	var parts []string
	if len(changed) > 0 {
		parts = append(parts, "konto changed "+strings.Join(changed, ", "))
	}
	if len(left) > 0 {
		parts = append(parts, "it has what konto did not choose: "+strings.Join(left, ", "))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.configs == nil {
		s.configs, s.warnings = map[string]jetstream.StreamConfig{}, map[string]string{}
	}
	s.configs[cfg.Name] = cfg
	if len(parts) == 0 {
		delete(s.warnings, cfg.Name)
		return
	}
	warning := "the stream " + cfg.Name + " is not as konto makes it: " + strings.Join(parts, "; ")
	if warning != s.warnings[cfg.Name] {
		s.warnings[cfg.Name] = warning
		log.Warn(warning)
	}
}

// Warnings tells what of konto's streams, which an operator may have made or
// changed, is not as konto makes it.
func (c *Conn) Warnings() []string {
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	return slices.Sorted(maps.Values(c.streams.warnings))
}

// neutral are members of a stream's configuration that are an operator's own choice:
// they neither drop nor refuse nor change a message.
var neutral = []string{"description", "num_replicas", "placement", "compression", "first_seq", "allow_direct", "mirror_direct",
	"metadata", "template_owner", "allow_rollup_hdrs", "allow_msg_ttl", "subject_delete_marker_ttl", "allow_atomic", "allow_batched", "allow_msg_schedules", "persist_mode"}

// differences names what is not the same in two configurations, but for what is
// neutral. For numbers that are bounds, 0 and -1 both mean none.
func differences(is, other jetstream.StreamConfig) (all []string) {
	a, b := reflect.ValueOf(is), reflect.ValueOf(other)
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		x, y := a.Field(i), b.Field(i)
		if slices.Contains(neutral, name) || reflect.DeepEqual(x.Interface(), y.Interface()) || x.CanInt() && x.Int() <= 0 && y.Int() <= 0 {
			continue
		}
		if name == "max_consumers" && (x.Int() <= 0 || x.Int() >= maxConsumers) {
			continue // there is room for konto's own
		}
		switch x.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Struct:
			all = append(all, name)
		default:
			all = append(all, fmt.Sprintf("%s (%v)", name, x.Interface()))
		}
	}
	return all
}

func (p *Publisher) shape(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Subjects = []string{subjects}
	cfg.Retention = jetstream.LimitsPolicy
	cfg.Discard = jetstream.DiscardOld
	cfg.MaxAge = p.retention
	cfg.Duplicates = duplicateWindow
	cfg.NoAck = false
	cfg.SubjectTransform = nil
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
