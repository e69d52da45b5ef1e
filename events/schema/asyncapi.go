package schema

import (
	_ "embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/jsonschema-go/jsonschema"

	"konto/events"
)

// written is the part of the AsyncAPI document that does not depend on the events.
//
//go:embed asyncapi.json
var written []byte

// object is an object of the document.
type object map[string]any

// ref is a reference to a part of the document.
func ref(parts ...string) object { return object{"$ref": "#/" + strings.Join(parts, "/")} }

// asyncAPI is the document. Its fields are in the order in which they are encoded.
type asyncAPI struct {
	Version     string         `json:"asyncapi"`
	ID          string         `json:"id"`
	Info        jsontext.Value `json:"info"`
	ContentType string         `json:"defaultContentType"`
	Servers     jsontext.Value `json:"servers"`
	Channels    object         `json:"channels"`
	Operations  object         `json:"operations"`
	Components  struct {
		SecuritySchemes jsontext.Value `json:"securitySchemes"`
		Messages        object         `json:"messages"`
		Schemas         object         `json:"schemas"`
	} `json:"components"`
}

// AsyncAPI returns the AsyncAPI 3.0 document of all messages about accounts that konto sends and
// receives. It panics if the document cannot be made, which is a mistake in this package.
var AsyncAPI = sync.OnceValue(func() []byte {
	var d asyncAPI
	if err := json.Unmarshal(written, &d, json.RejectUnknownMembers(true)); err != nil {
		panic(fmt.Errorf("read asyncapi.json: %w", err))
	}
	d.Components.Schemas["Attributes"] = attributes("ce-")
	d.Components.Schemas["CloudEvent"] = attributes("")
	d.Components.Schemas["InboundFacts"] = inboundFacts()
	for _, s := range All() {
		d.add(s)
	}
	return document(&d)
})

// add adds an event: its channel on NATS, its message there and its webhook message.
func (d *asyncAPI) add(s Schema) {
	name, _, _ := strings.Cut(s.Name, ".")
	summary := "account " + s.Name
	d.Components.Schemas[s.Name] = s.schema
	d.Components.Messages[s.Name] = object{
		"name": "konto.account." + s.Name, "title": s.Name, "summary": s.about,
		"headers": object{
			"type":  "object",
			"allOf": []object{ref("components", "schemas", "Attributes")},
			"properties": object{
				"ce-type":     object{"const": "konto.account." + s.Name},
				"traceparent": object{"type": "string", "description": "W3C trace of the request that caused the event, if it had one."},
				"tracestate":  object{"type": "string", "description": "The state of that trace."},
			},
		},
		"payload":  ref("components", "schemas", s.Name),
		"examples": []object{{"summary": summary, "headers": headers(s.message), "payload": jsontext.Value(s.message.Data)}},
	}
	d.Channels[name] = object{
		"address":    events.SubjectPrefix + "{account}." + name,
		"title":      name,
		"parameters": object{"account": object{"description": "The account's id, a ULID.", "examples": []string{exampleAccount.String()}}},
		"servers":    []object{ref("servers", "nats")},
		"messages":   object{s.Name: ref("components", "messages", s.Name)},
	}
	d.Operations["send"+name] = object{
		"action": "send", "summary": s.about,
		"channel":  ref("channels", name),
		"messages": []object{ref("channels", name, "messages", s.Name)},
		"bindings": object{"nats": object{"bindingVersion": "0.1.0"}},
	}
	d.Components.Messages["webhook."+s.Name] = object{
		"name": "konto.account." + s.Name, "title": s.Name + " as a webhook", "summary": s.about,
		"contentType": "application/cloudevents+json",
		"headers":     webhookHeaders,
		"payload": object{
			"allOf": []object{ref("components", "schemas", "CloudEvent")},
			"type":  "object", "required": []string{"data"},
			"properties": object{"type": object{"const": "konto.account." + s.Name}, "data": ref("components", "schemas", s.Name)},
		},
	}
	d.Channels["webhooks"].(map[string]any)["messages"].(map[string]any)["webhook."+s.Name] = ref("components", "messages", "webhook."+s.Name)
}

// attributes describes the attributes of a CloudEvent, all of which are required: as headers of a
// message on NATS (prefix ce-), or as members next to the data of a structured event.
func attributes(prefix string) object {
	all := object{
		"specversion":     object{"const": "1.0"},
		"id":              object{"pattern": patternULID, "description": "The event's id, a ULID. A repeated message has the same id."},
		"source":          object{"const": "/konto"},
		"type":            object{"description": "konto.account., the event's name and its version."},
		"subject":         object{"pattern": patternULID, "description": "The account's id, a ULID."},
		"time":            object{"format": "date-time", "description": "When the event happened. UTC."},
		"datacontenttype": object{"const": "application/json"},
		"position":        object{"pattern": "^[1-9][0-9]*$", "description": "The event's position in konto's log. Positions increase, with gaps, because not every event is sent."},
		"accountversion":  object{"pattern": "^[1-9][0-9]*$", "description": "The event's number among the account's events, from 1, without gaps."},
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

// webhookHeaders are the headers of Standard Webhooks.
var webhookHeaders = object{
	"type":     "object",
	"required": []string{"webhook-id", "webhook-timestamp", "webhook-signature"},
	"properties": object{
		"webhook-id":        object{"type": "string", "pattern": patternULID, "description": "The event's id. A repeated delivery has the same id."},
		"webhook-timestamp": object{"type": "string", "pattern": "^[0-9]+$", "description": "When this attempt was made, in seconds since 1970."},
		"webhook-signature": object{"type": "string", "description": "Signatures, separated by spaces: v1,... and v1a,..."},
		"traceparent":       object{"type": "string", "description": "W3C trace of the request that caused the event, if it had one."},
		"tracestate":        object{"type": "string", "description": "The state of that trace."},
	},
}

// headers are the headers of an example, as an object.
func headers(m events.Message) object {
	all := object{}
	for _, h := range m.Headers {
		all[h[0]] = h[1]
	}
	return all
}

// inboundFacts describes what other systems send: the facts as they are published, and the account
// that they are about. Unlike the messages that konto sends, it allows no further members, because
// konto refuses unknown ones.
func inboundFacts() *jsonschema.Schema {
	s := newDescriber().describe(reflect.TypeFor[events.FactsRecorded]())
	s.Properties["account"] = &jsonschema.Schema{
		Type: "string", MinLength: new(1), Description: "Any id of the account, or its email address.",
	}
	s.PropertyOrder = append([]string{"account"}, s.PropertyOrder...)
	s.Required, s.MinProperties = []string{"account"}, new(2) // the account and at least one fact
	for _, name := range []string{"pendingOrder", "bankidName"} {
		s.Properties[name].Pattern = `\S` // blanks are a mistake
	}
	s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	return s
}
