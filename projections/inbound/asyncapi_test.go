package inbound

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"konto/events/schema"
)

// A sender that validates its messages against the AsyncAPI document knows what konto would refuse.
func TestFactsAreAcceptedAsAsyncAPIDescribesThem(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.AsyncAPI()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("konto:asyncapi", document); err != nil {
		t.Fatal(err)
	}
	promised := compiler.MustCompile("konto:asyncapi#/components/messages/facts/payload")
	for text, taken := range map[string]bool{
		`{"account":"a@b.se","activeDomains":0,"seNuDomains":2,"pendingOrder":"7","verified":true,"bankidName":"Å"}`: true,
		`{"account":"a@b.se","pendingOrder":null,"bankidName":null}`:                                                 true,
		`{"account":"a@b.se"}`:                       false,
		`{"verified":true,"activeDomains":1}`:        false,
		`{"account":"","verified":true}`:             false,
		`{"account":null,"verified":true}`:           false,
		`{"account":7,"verified":true}`:              false,
		`{"account":"a@b.se","verified":null}`:       false,
		`{"account":"a@b.se","activeDomains":null}`:  false,
		`{"account":"a@b.se","activeDomains":1.5}`:   false,
		`{"account":"a@b.se","seNuDomains":"1"}`:     false,
		`{"account":"a@b.se","pendingOrder":""}`:     false,
		`{"account":"a@b.se","bankidName":" "}`:      false,
		`{"account":"a@b.se","verified":true,"x":1}`: false,
		`[]`: false,
	} {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := promised.Validate(value); (err == nil) != taken {
			t.Errorf("described: %s: %v", text, err)
		}
		if _, err := read(fact(text)); (err == nil) != taken {
			t.Errorf("taken: %s: %v", text, err)
		}
	}
}
