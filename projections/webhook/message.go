package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// message is what is posted. For one event and one third party it is always the same, to the
// byte, however often it is sent.
type message struct {
	id     ulid.ULID // of the event, by which the third party recognizes a repetition
	media  string
	accept string // "" means no Accept header
	trace  string // W3C traceparent of the request that caused the event
	state  string // its tracestate
	body   []byte
}

const mediaJSON = "application/json"

var (
	// errInexpressible means that a format cannot express an event. Operators read the text
	// in the delivery log.
	errInexpressible = errors.New("format cannot express the event")

	// errErased means that the event's account was erased, and nothing is known of it.
	errErased = errors.New("account was erased")

	// errFormat means that the third party was added by a newer konto.
	errFormat = errors.New("format is not known")
)

// compose puts an event into the third party's format. Errors: errInexpressible, errErased,
// those of Past, and that the event does not decode.
func (s *Sender) compose(ctx context.Context, party *events.ThirdParty, e *events.Event) (m message, err error) {
	switch party.Format {
	case events.FormatCloudEvents:
		m, err = cloudEvent(e)
	case events.FormatPayway:
		m, err = s.payway(ctx, e)
	case events.FormatPaywaySSI:
		m, err = s.paywaySSI(ctx, e)
	case events.FormatRISC:
		m, err = s.securityEvent(party, e)
	default:
		err = fmt.Errorf("%w: %s", errFormat, party.Format)
	}
	m.id, m.trace, m.state = e.ID, e.Metadata.Trace, e.Metadata.TraceState
	return m, err
}

// composeTest makes a test event.
func (s *Sender) composeTest(party *events.ThirdParty, id ulid.ULID, at time.Time) (m message, err error) {
	switch party.Format {
	case events.FormatCloudEvents:
		m, err = testCloudEvent(party, id, at)
	case events.FormatPayway:
		m, err = jsonMessage(paywayEvent(paywayTest, at, object{}, object{}))
	case events.FormatPaywaySSI:
		m, err = jsonMessage(paywaySSIEvent(paywayTest, at, &events.Account{}))
	case events.FormatRISC:
		m, err = s.verification(party, id, at)
	default:
		err = fmt.Errorf("%w: %s", errFormat, party.Format)
	}
	m.id = id
	return m, err
}

// object is a JSON object, whose members are written in their order.
type object []struct {
	name  string
	value any
}

// MarshalJSONTo implements json.MarshalerTo.
func (o object) MarshalJSONTo(enc *jsontext.Encoder) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, m := range o {
		if err := enc.WriteToken(jsontext.String(m.name)); err != nil {
			return err
		}
		if err := json.MarshalEncode(enc, m.value); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}

func jsonMessage(body object) (message, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return message{}, fmt.Errorf("encode message: %w", err)
	}
	return message{media: mediaJSON, body: data}, nil
}

// mediaCloudEvent is CloudEvents' JSON format in the structured content mode.
const mediaCloudEvent = "application/cloudevents+json"

// testType is the type of a test event.
const testType = "konto.third-party.test"

// cloudEvent is the event as it is published on NATS, in one document: the ce- headers are
// members with the same values. Position and account version stay strings, because an Integer
// of CloudEvents has 32 bits.
func cloudEvent(e *events.Event) (message, error) {
	published, ok, err := events.Publish(*e)
	if err != nil {
		return message{}, err
	}
	if !ok { // only events of accounts are published
		return message{}, errInexpressible
	}
	var body object
	for _, h := range published.Headers {
		// No attribute of konto has a character that the header form encodes.
		body = append(body, object{{strings.TrimPrefix(h[0], "ce-"), h[1]}}...)
	}
	return structured(append(body, object{{"data", jsontext.Value(published.Data)}}...))
}

// testCloudEvent is about the third party itself.
func testCloudEvent(party *events.ThirdParty, id ulid.ULID, at time.Time) (message, error) {
	return structured(object{
		{"specversion", "1.0"},
		{"id", id.String()},
		{"source", "/konto"},
		{"type", testType},
		{"subject", party.ID.String()},
		{"time", at.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano)},
		{"datacontenttype", mediaJSON},
		{"data", object{}},
	})
}

func structured(body object) (message, error) {
	m, err := jsonMessage(body)
	m.media = mediaCloudEvent
	return m, err
}
