package schema

import (
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"konto/events"
)

// attributes describes the attributes of a CloudEvent, all of them always
// there: as headers of a message on NATS (prefix ce-), or beside the data of a
// structured one.
func attributes(prefix string) object {
	all := object{
		"specversion":     object{"const": "1.0"},
		"id":              object{"pattern": patternULID, "description": "The event's id, a ULID: what comes twice bears the same."},
		"source":          object{"const": "/konto"},
		"type":            object{"description": "konto.account., the event's name and its version."},
		"subject":         object{"pattern": patternULID, "description": "The account's id, a ULID."},
		"time":            object{"format": "date-time", "description": "When it happened. UTC."},
		"datacontenttype": object{"const": "application/json"},
		"position":        object{"pattern": "^[1-9][0-9]*$", "description": "The event's place in konto's log, which it counts up. There are gaps: not every event is sent."},
		"accountversion":  object{"pattern": "^[1-9][0-9]*$", "description": "The event's place among the account's events, from 1, without gaps."},
	}
	properties, required := object{}, []string{}
	for name, schema := range all {
		schema := schema.(object)
		schema["type"] = "string"
		properties[prefix+name] = schema
		required = append(required, prefix+name)
	}
	slices.Sort(required)
	return object{"type": "object", "required": required, "properties": properties}
}

// webhookHeaders are those of Standard Webhooks.
var webhookHeaders = object{
	"type":     "object",
	"required": []string{"webhook-id", "webhook-timestamp", "webhook-signature"},
	"properties": object{
		"webhook-id":        object{"type": "string", "pattern": patternULID, "description": "The event's id: what comes twice bears the same."},
		"webhook-timestamp": object{"type": "string", "pattern": "^[0-9]+$", "description": "When this try was made, in seconds since 1970."},
		"webhook-signature": object{"type": "string", "description": "Signatures, separated by spaces: v1,... and v1a,..."},
		"traceparent":       object{"type": "string", "description": "W3C trace of the request that caused the event, if it had one."},
		"tracestate":        object{"type": "string", "description": "What belongs to that trace."},
	},
}

// headers are an example's, as an object.
func headers(m events.Message) object {
	all := object{}
	for _, h := range m.Headers {
		all[h[0]] = h[1]
	}
	return all
}

// inboundFacts describes what other systems send: the facts as they are
// published, and whose they are. Unlike what konto sends it is closed, because
// konto refuses what it does not know.
func inboundFacts() *jsonschema.Schema {
	s := newDescriber().describe(reflect.TypeFor[events.FactsRecorded]())
	s.Properties["account"] = &jsonschema.Schema{
		Type: "string", MinLength: new(1), Description: "Any id of the account, or its email address.",
	}
	s.PropertyOrder = append([]string{"account"}, s.PropertyOrder...)
	s.Required, s.MinProperties = []string{"account"}, new(2) // and a fact, at least
	for _, name := range []string{"pendingOrder", "bankidName"} {
		s.Properties[name].Pattern = `\S` // blanks are a mistake
	}
	s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	return s
}
