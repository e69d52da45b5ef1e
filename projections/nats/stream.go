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

	"konto/projections/nats/subjects"
)

// maxConsumers bounds the consumers on the stream KONTO: without a bound any key could fill the
// server's memory and disk with them.
const maxConsumers = 1000

// duplicateWindow is the server's shortest. The expected sequence of each message already keeps
// it from being stored twice. A long window does harm: the server answers "duplicate" for ids
// whose messages were purged since, and does not store what must be published again.
const duplicateWindow = 100 * time.Millisecond

// errUnavailable is matched by every error that NATS returned: the operation may succeed later.
var errUnavailable = errors.New("NATS is not available")

func unavailable(doing string, err error) error {
	// The client names a buffer, which konto's connection does not have.
	if errors.Is(err, natsgo.ErrReconnectBufExceeded) {
		return fmt.Errorf("%w: not connected", errUnavailable)
	}
	return fmt.Errorf("%w: %s: %w", errUnavailable, doing, err)
}

// openStream returns the stream that first names. If there is none, openStream makes it from first.
// In both cases shape sets what konto needs, and the stream gets three replicas if there are as many
// servers (replicas.go). What else an operator has set on an outside server stays.
func (c *Conn) openStream(ctx context.Context, first jetstream.StreamConfig, shape func(jetstream.StreamConfig) jetstream.StreamConfig) (jetstream.Stream, error) {
	name := first.Name
	stream, err := c.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = c.createStream(ctx, shape(first))
		if noSpace(err) {
			return nil, unavailable("open the stream", fmt.Errorf("it has no space for the stream %s, which reserves %d MiB: %w", name, shape(first).MaxBytes>>20, err))
		}
	} else if err == nil {
		have := stream.CachedInfo().Config
		if c.streams.known(have) {
			return stream, nil
		}
		if err := unusable(have); err != nil {
			return nil, unavailable("open the stream", err)
		}
		want := shape(have)
		var changed, left []string
		if stream, left, err = c.changeStream(ctx, stream, want); err != nil {
			return nil, unavailable("open the stream", fmt.Errorf("the stream %s cannot be changed to what konto needs (%s): %w",
				name, strings.Join(differences(have, want), ", "), err))
		}
		if !c.embedded { // konto itself made those of the embedded server
			changed, left = differences(have, want), append(left, differences(want, shape(first))...)
		}
		c.streams.opened(c.outage.log, stream.CachedInfo().Config, changed, left)
	}
	if err != nil {
		return nil, unavailable("open the stream", err)
	}
	return stream, nil
}

// openStream returns the stream KONTO, made or changed to what konto needs.
func (p *Publisher) openStream(ctx context.Context) (jetstream.Stream, error) {
	first := jetstream.StreamConfig{Name: subjects.Stream, Storage: jetstream.FileStorage, MaxConsumers: maxConsumers}
	if p.conn.embedded {
		// The server writes within 8 ms, many messages at a time, instead of one by one: 2 µs of 16
		// less for each. What a killed process did not write is published again. An outside server
		// does not get this mode, because a stream in it can never have replicas.
		first.PersistMode = jetstream.AsyncPersistMode
	}
	return p.conn.openStream(ctx, first, p.shape)
}

func (p *Publisher) shape(cfg jetstream.StreamConfig) jetstream.StreamConfig {
	cfg.Subjects = []string{subjects.Accounts}
	cfg.Retention = jetstream.LimitsPolicy
	cfg.Discard = jetstream.DiscardOld
	cfg.MaxAge = p.retention
	cfg.Duplicates = duplicateWindow
	cfg.NoAck = false
	cfg.SubjectTransform = nil
	// A replica that lags behind may answer a direct read, and the publisher would conclude that
	// messages were lost.
	cfg.AllowDirect = false
	return cfg
}

// streamEnd is how the stream ends.
type streamEnd struct {
	created  time.Time
	sequence uint64 // of the last message that was ever stored, removed or not
	messages uint64
	last     struct { // the last message that the stream holds
		sequence uint64
		position uint64 // of its event; 0 if it is not an event of this log
	}
}

// readEnd reads the end of the stream. It reads the last message after the stream's state: a message
// that arrives in between is counted in both.
func (p *Publisher) readEnd(ctx context.Context, stream jetstream.Stream) (streamEnd, error) {
	info := stream.CachedInfo()
	end := streamEnd{created: info.Created, sequence: info.State.LastSeq, messages: info.State.Msgs}
	last, err := stream.GetLastMsgForSubject(ctx, subjects.Accounts)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		end.messages = 0
		return end, nil
	}
	if err != nil {
		return streamEnd{}, unavailable("read the stream's last message", err)
	}
	end.sequence = max(end.sequence, last.Sequence)
	end.messages = max(end.messages, 1)
	end.last.sequence = last.Sequence
	end.last.position, err = p.positionOf(ctx, last.Header)
	return end, err
}

// positionOf returns the position of a message's event. It is 0 if the log holds no such event
// there: then the message is of another log, or not konto's.
func (p *Publisher) positionOf(ctx context.Context, header natsgo.Header) (uint64, error) {
	position, err := strconv.ParseUint(header.Get("ce-position"), 10, 64)
	if err != nil || position == 0 {
		return 0, nil
	}
	event, err := p.eventAt(ctx, position)
	if err != nil || event.String() != header.Get("ce-id") {
		return 0, err
	}
	return position, nil
}

// noSpace reports whether a stream reserves more than the server, or konto's account, has left.
func noSpace(err error) bool {
	var refused *jetstream.APIError
	const storageResourcesExceeded = 10047
	return errors.As(err, &refused) && refused.ErrorCode == storageResourcesExceeded
}

// unusable says why nothing can be published to a stream that somebody else made, whatever konto
// changes of it. If a stream cannot be changed for another reason, the server refuses the change.
func unusable(cfg jetstream.StreamConfig) error {
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

// streams holds the last known configuration of each stream, and a warning about each that is not as
// konto makes it.
type streams struct {
	mu       sync.Mutex
	configs  map[string]jetstream.StreamConfig
	warnings map[string]string
}

// known reports whether opened was called with the configuration.
func (s *streams) known(cfg jetstream.StreamConfig) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return reflect.DeepEqual(s.configs[cfg.Name], cfg)
}

// opened logs what konto changed of a stream, and what it left although it would choose otherwise.
// It logs each warning once.
func (s *streams) opened(log *slog.Logger, cfg jetstream.StreamConfig, changed, left []string) {
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

// Warnings lists what of konto's streams is not as konto makes it. An operator may have made or
// changed them.
func (c *Conn) Warnings() []string {
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	return slices.Sorted(maps.Values(c.streams.warnings))
}

// neutral are the members of a stream's configuration that neither drop nor refuse nor change a
// message. An operator may choose them.
var neutral = []string{"description", "num_replicas", "placement", "compression", "first_seq", "allow_direct", "mirror_direct",
	"metadata", "template_owner", "allow_rollup_hdrs", "allow_msg_ttl", "subject_delete_marker_ttl", "allow_atomic", "allow_batched", "allow_msg_schedules", "persist_mode"}

// differences names the members of a configuration that differ from another one, except neutral
// ones. For numbers that are bounds, 0 and -1 both mean none.
func differences(is, other jetstream.StreamConfig) (all []string) {
	a, b := reflect.ValueOf(is), reflect.ValueOf(other)
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		x, y := a.Field(i), b.Field(i)
		if slices.Contains(neutral, name) || reflect.DeepEqual(x.Interface(), y.Interface()) || x.CanInt() && x.Int() <= 0 && y.Int() <= 0 {
			continue
		}
		if name == "max_consumers" && (x.Int() <= 0 || x.Int() >= maxConsumers) {
			continue // konto's own fit in
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
