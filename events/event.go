package events

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"
)

// Payload is the data of an event. Its types are the structs of this package that codec.go
// names, and Shredded. A payload is a value, never a pointer.
type Payload interface {
	// storedName is the name of the payload's type in the log, or "" if the type is not stored.
	storedName() string
}

// Event is something that happened: a payload in its stored form, with its metadata.
type Event struct {
	ID       ulid.ULID
	Stream   Stream
	Version  uint64    // within the stream, counts from 1
	Position uint64    // within the whole log, counts from 1; 0 until appended
	Time     time.Time // UTC, milliseconds
	Type     string    // name and version, such as EmailChanged.v1
	Metadata Metadata
	Data     []byte // the payload as clear JSON
	// Shredded means that the key of the event's stream was destroyed. The event cannot
	// be read any more, and Metadata and Data are empty.
	Shredded bool
}

// Metadata says what caused an event. It is encrypted like the payload. The metadata of an
// event that ends a stream is not encrypted, so metadata never has an account's personal data.
type Metadata struct {
	RequestID string `json:"requestId,omitzero"` // req_ and a ULID
	Actor     Actor  `json:"actor,omitzero"`
	// Impersonator is the administrator who acted for the account.
	Impersonator string `json:"impersonator,omitzero"`
	// Grant is the delegated grant that the actor used.
	Grant    string `json:"grant,omitzero"`
	Contract string `json:"contract,omitzero"` // hostup, payway.v1, payway.v0, generic, admin, cli, inbound
	// Trace and TraceState are the W3C traceparent and tracestate of the request.
	Trace      string `json:"trace,omitzero"`
	TraceState string `json:"traceState,omitzero"`
}

// Actor is who caused an event: the kind of credential and its id.
type Actor struct {
	Kind string `json:"kind"` // account, client, session, admin, operator, inbound
	ID   string `json:"id,omitzero"`
}

// Encode returns the stored bytes.
func (m *Metadata) Encode() ([]byte, error) { return json.Marshal(m) }

// New makes a payload the event with the given version in stream. The log sets its position.
func New(stream Stream, version uint64, id ulid.ULID, at time.Time, meta Metadata, p Payload) (Event, error) {
	name, data, err := Encode(p)
	if err != nil {
		return Event{}, err
	}
	return Event{
		ID: id, Stream: stream, Version: version, Type: name,
		Time: at.UTC().Truncate(time.Millisecond), Metadata: meta, Data: data,
	}, nil
}

// Payload decodes the event's data. The payload of a shredded event is Shredded. The error is
// a *DecodeError.
func (e Event) Payload() (Payload, error) {
	if e.Shredded {
		return Shredded{}, nil
	}
	p, err := Decode(e.Type, e.Data)
	if err != nil {
		return nil, &DecodeError{Type: e.Type, Position: e.Position, Err: err}
	}
	return p, nil
}

// Stream is the name of an ordered sequence of events with one owner: a category, a hyphen and
// the owner's ULID, as in account-01HXA3B4C5D6E7F8G9H0J1K2M3.
type Stream string

// The categories of streams.
const (
	CategoryAccount    = "account"
	CategoryCredential = "credential"
	CategoryThirdParty = "third-party"
)

// AccountStream is the stream of one account.
func AccountStream(id ulid.ULID) Stream { return Stream(CategoryAccount + "-" + id.String()) }

// CredentialStream is the stream of one API key, client token, consumer key or session.
func CredentialStream(id ulid.ULID) Stream { return Stream(CategoryCredential + "-" + id.String()) }

// Split returns the stream's category and its owner's id. A malformed name is an error, and so
// is an id in lower case, because then one owner would have two streams.
func (s Stream) Split() (category string, owner ulid.ULID, err error) {
	at := strings.LastIndexByte(string(s), '-')
	if at < 1 {
		return "", ulid.ULID{}, fmt.Errorf("stream %q has no category", s)
	}
	id := string(s[at+1:])
	if owner, err = ulid.ParseStrict(id); err != nil {
		return "", ulid.ULID{}, fmt.Errorf("stream %q: %w", s, err)
	}
	if strings.ToUpper(id) != id {
		return "", ulid.ULID{}, fmt.Errorf("stream %q has an id in lower case", s)
	}
	return string(s[:at]), owner, nil
}

// Category is the part before the owner's id, or "" if the name is malformed.
func (s Stream) Category() string {
	category, _, err := s.Split()
	if err != nil {
		return ""
	}
	return category
}

// maxTraceState is the length that W3C Trace Context level 1, section 3.3.1.5 asks to propagate.
const maxTraceState = 512

// TraceContext returns the values of the headers traceparent and tracestate. A value that is not
// valid by W3C Trace Context level 1, sections 3.2 and 3.3, is "", because a bad trace is no
// reason to refuse a request. There is no state without a parent. The state can be in several
// headers.
func TraceContext(parents, states []string) (parent, state string) {
	if len(parents) != 1 || !validParent(parents[0]) {
		return "", ""
	}
	if len(states) == 0 {
		return parents[0], ""
	}
	state = strings.Trim(strings.Join(states, ","), " \t")
	unprintable := func(r rune) bool { return r < ' ' || r > '~' }
	if len(state) > maxTraceState || !strings.Contains(state, "=") || strings.ContainsFunc(state, unprintable) {
		state = ""
	}
	return parents[0], state
}

// traceparent is version, trace id, parent id and flags.
var traceparent = regexp.MustCompile(`\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\z`)

// validParent reports whether a text is a traceparent of a possible version, with neither id all
// zeros.
func validParent(v string) bool {
	return traceparent.MatchString(v) && v[:2] != "ff" && strings.Trim(v[3:35], "0") != "" && strings.Trim(v[36:52], "0") != ""
}
