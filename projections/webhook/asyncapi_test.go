package webhook

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"konto/events"
	"konto/events/schema"
)

// A request must have the headers that the AsyncAPI document describes.
func TestRequestsMatchTheAsyncAPIDocument(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.AsyncAPI()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("konto:asyncapi", document); err != nil {
		t.Fatal(err)
	}
	h := newHarness(t)
	url, got := endpoint(t, status(204))
	sender := h.sender()
	for _, e := range []events.Event{h.changed(), h.append(events.PasswordChanged{Hash: "a hash"}), h.append(events.AccountErased{})} {
		if answer := sender.Send(t.Context(), party(events.FormatCloudEvents, url), e); answer.Verdict != Delivered {
			t.Fatalf("%s: %+v", e.Type, answer)
		}
		request := <-got
		message := "konto:asyncapi#/components/messages/webhook." + e.Type
		headers := map[string]any{}
		for name := range request.header {
			headers[strings.ToLower(name)] = request.header.Get(name)
		}
		if err := compiler.MustCompile(message + "/headers").Validate(headers); err != nil {
			t.Errorf("%s: headers: %v", e.Type, err)
		}
		body, err := jsonschema.UnmarshalJSON(bytes.NewReader(request.body))
		if err != nil {
			t.Fatal(err)
		}
		promised := compiler.MustCompile(message + "/payload")
		if err := promised.Validate(body); err != nil {
			t.Errorf("%s: %v", e.Type, err)
		}
		members := body.(map[string]any)
		for name, was := range members {
			delete(members, name)
			if promised.Validate(body) == nil {
				t.Errorf("%s may lack %s", e.Type, name)
			}
			members[name] = was
		}
		if media := headers["content-type"]; media != mediaOf(t, document, e.Type) {
			t.Errorf("%s comes as %s", e.Type, media)
		}
	}
}

// mediaOf is the content type in the document.
func mediaOf(t *testing.T, document any, name string) any {
	t.Helper()
	for _, member := range []string{"components", "messages", "webhook." + name} {
		document = document.(map[string]any)[member]
	}
	return document.(map[string]any)["contentType"]
}
