package webhook

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"konto/events"
)

// mediaCloudEvent is CloudEvents' JSON format in the structured content mode.
const mediaCloudEvent = "application/cloudevents+json"

// testType is the type of a test event.
const testType = "konto.third-party.test"

// cloudEvent is the event as it is published, in one document: what are ce-
// headers on NATS are members here, with the same values. Position and account
// version stay texts, since an Integer of CloudEvents has 32 bits.
func cloudEvent(e *events.Event) (message, error) {
	published, ok, err := events.Publish(*e)
	if err != nil {
		return message{}, err
	}
	if !ok { // only events of accounts are published
		return message{}, errWordless
	}
	var attributes [][2]string
	for _, h := range published.Headers {
		attributes = append(attributes, [2]string{strings.TrimPrefix(h[0], "ce-"), h[1]})
	}
	return structured(attributes, published.Data)
}

// testCloudEvent is about the third party itself.
func testCloudEvent(party *events.ThirdParty, id ulid.ULID, at time.Time) (message, error) {
	return structured([][2]string{
		{"specversion", "1.0"},
		{"id", id.String()},
		{"source", "/konto"},
		{"type", testType},
		{"subject", party.ID.String()},
		{"time", at.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano)},
		{"datacontenttype", mediaJSON},
	}, []byte("{}"))
}

// structured writes the attributes in their order, and the data last. None of
// konto's attributes has a character that its header form encodes, so the
// headers' values are the attributes'.
func structured(attributes [][2]string, data jsontext.Value) (message, error) {
	var body strings.Builder
	enc := jsontext.NewEncoder(&body)
	// A strings.Builder does not fail, and an encoder remembers what was wrong
	// with the tokens until the object is closed.
	_ = enc.WriteToken(jsontext.BeginObject)
	for _, a := range attributes {
		_ = json.MarshalEncode(enc, a[0])
		_ = json.MarshalEncode(enc, a[1])
	}
	_ = json.MarshalEncode(enc, "data")
	if err := enc.WriteValue(data); err != nil {
		return message{}, err
	}
	if err := enc.WriteToken(jsontext.EndObject); err != nil {
		return message{}, err
	}
	return message{media: mediaCloudEvent, body: []byte(strings.TrimSuffix(body.String(), "\n"))}, nil
}
