package events

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"
)

// SubjectPrefix is the beginning of the subject of every published account event.
const SubjectPrefix = "konto.account."

// Message is the published form of an event: CloudEvents 1.0 in the binary content mode of its
// NATS protocol binding.
type Message struct {
	Subject string      // konto.account.<ULID>.<Type>
	Headers [][2]string // name and percent-encoded value
	Data    []byte      // the event's data as clear JSON
}

// Publish returns an event's published form, without its secrets. Only account events that can
// be read are published. For other events ok is false.
func Publish(e Event) (m Message, ok bool, err error) {
	category, owner, err := e.Stream.Split()
	if err != nil || category != CategoryAccount || e.Shredded {
		return Message{}, false, err
	}
	data, err := published(e)
	if err != nil {
		return Message{}, false, err
	}
	name, _, _ := strings.Cut(e.Type, ".")
	header := func(name, value string) [2]string { return [2]string{name, EncodeHeader(value)} }
	m = Message{
		Subject: SubjectPrefix + owner.String() + "." + name,
		Headers: [][2]string{
			header("ce-specversion", "1.0"),
			header("ce-id", e.ID.String()),
			header("ce-source", "/konto"),
			header("ce-type", "konto.account."+e.Type),
			header("ce-subject", owner.String()),
			header("ce-time", e.Time.Format(time.RFC3339Nano)),
			header("ce-datacontenttype", "application/json"),
			header("ce-position", strconv.FormatUint(e.Position, 10)),
			header("ce-accountversion", strconv.FormatUint(e.Version, 10)),
		},
		Data: data,
	}
	// Not percent-encoded: these headers are not those of CloudEvents, and stored traces are valid.
	if e.Metadata.Trace != "" {
		m.Headers = append(m.Headers, [2]string{"traceparent", e.Metadata.Trace})
		if e.Metadata.TraceState != "" {
			m.Headers = append(m.Headers, [2]string{"tracestate", e.Metadata.TraceState})
		}
	}
	return m, true, nil
}

// EncodeHeader percent-encodes a CloudEvents attribute for a NATS header: space, double quote,
// percent and everything outside printable ASCII, byte by byte (CloudEvents HTTP binding 1.0.2,
// section 3.1.3.2, whose text the NATS binding repeats).
func EncodeHeader(value string) string {
	if !strings.ContainsFunc(value, mustEncode) {
		return value
	}
	var b strings.Builder
	for _, c := range []byte(value) {
		if mustEncode(rune(c)) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func mustEncode(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

// PublishedEmailChangeRequested is EmailChangeRequested as it is published: without the hash, from
// which the code could be guessed.
type PublishedEmailChangeRequested struct {
	NewEmail  string    `json:"newEmail" jsonschema:"The requested address."`
	Request   ulid.ULID `json:"request" jsonschema:"The request's id."`
	ExpiresAt time.Time `json:"expiresAt" jsonschema:"Until when the request can be confirmed. UTC."`
}

// PublishedWithoutData is the published form of an event whose members are all left out.
type PublishedWithoutData struct{}

// Published returns an account event's payload as it is published: the payload itself, or its form
// without secrets. The schemas are made from it too, so they describe exactly what is published.
func Published(p Payload) any {
	switch p := p.(type) {
	case EmailChangeRequested:
		return PublishedEmailChangeRequested{NewEmail: p.NewEmail, Request: p.Request, ExpiresAt: p.ExpiresAt}
	case PasswordChanged, IdentityLinked, IdentityUnlinked:
		return PublishedWithoutData{}
	}
	return p
}

// published returns the event's data as Published does. Only types that leave something out are
// decoded. The other types are published as they are stored.
func published(e Event) ([]byte, error) {
	switch e.Type {
	case TypeEmailChangeRequested, TypePasswordChanged, TypeIdentityLinked, TypeIdentityUnlinked:
	default:
		return e.Data, nil
	}
	p, err := e.Payload()
	if err != nil {
		return nil, err
	}
	return json.Marshal(Published(p))
}
