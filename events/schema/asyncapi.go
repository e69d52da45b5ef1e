package schema

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/events"
)

// written is the part of the AsyncAPI document that is the same whatever
// events there are.
//
//go:embed asyncapi.json
var written []byte

// object is an object of the document.
type object map[string]any

// ref refers to a part of the document.
func ref(parts ...string) object { return object{"$ref": "#/" + strings.Join(parts, "/")} }

// asyncAPI is the document, as far as events add to it. Its parts keep their order.
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

// AsyncAPI gives the AsyncAPI 3.0 document of everything that konto sends of
// accounts, and takes. It panics when it cannot be made, which is a mistake made
// at build time.
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

// add adds an event: its channel on NATS, its message there and in a webhook.
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
				"tracestate":  object{"type": "string", "description": "What belongs to that trace."},
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
