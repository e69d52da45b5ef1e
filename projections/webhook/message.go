package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// message is what is posted. For one event and one third party it is always the
// same, to the byte: a repetition cannot be told from the first time.
type message struct {
	id     ulid.ULID // of the event: what a repetition is known by
	media  string
	accept string // "" says nothing
	trace  string // W3C traceparent of the request that caused the event
	state  string // its tracestate
	body   []byte
}

const mediaJSON = "application/json"

// errWordless is for an event that a format cannot express.
var errWordless = errors.New("format has no words for the event")

// errErased is for an event of an account of which nothing is known any more.
var errErased = errors.New("account was erased")

// errFormat is for a third party of a newer konto.
var errFormat = errors.New("format is not known")

// compose puts an event into the third party's format. Errors: errWordless,
// errErased, those of Past, and an event that does not decode.
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
		m, err = jsonMessage(newPaywayEvent(paywayTest, at))
	case events.FormatPaywaySSI:
		m, err = jsonMessage(paywaySSIEvent{Name: paywayTest, Timestamp: paywayTime(at)})
	case events.FormatRISC:
		m, err = s.verification(party, id, at)
	default:
		err = fmt.Errorf("%w: %s", errFormat, party.Format)
	}
	m.id = id
	return m, err
}

func jsonMessage(body any) (message, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return message{}, fmt.Errorf("encode message: %w", err)
	}
	return message{media: mediaJSON, body: data}, nil
}
