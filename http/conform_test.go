package http

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// requireDocumented checks a request and its answer against the OpenAPI documents.
// Only requests that konto accepts must be as documented.
func (s *script) requireDocumented(t *testing.T, c *call) {
	t.Helper()
	operation, shown, wrong := c.answered()
	if operation.value != nil && c.accepted() {
		wrong = append(wrong, c.holdRequest(operation)...)
	}
	s.shown[shown] = true
	for _, err := range wrong {
		t.Error(err)
	}
}

// call is a request and its answer, which are checked against the documents.
type call struct {
	request        *http.Request
	sent, received string // bodies
	answer         *http.Response
}

// Headers of HTTP itself, which the documents omit, and one that is ignored.
var (
	requestHeaders = []string{
		"Accept", "Accept-Encoding", "Authorization", "Content-Encoding", "Content-Type", "Cookie", "Origin", "Sec-Fetch-Site", "X-Request-Id",
		"Access-Control-Request-Method", "Access-Control-Request-Headers",
	}
	answerHeaders = []string{
		"Cache-Control", "Content-Encoding", "Content-Length", "Content-Security-Policy", "Content-Type", "Date", "Pragma", "Referrer-Policy", "Vary",
		"X-Content-Type-Options", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods",
		"Access-Control-Allow-Headers", "Access-Control-Expose-Headers", "Access-Control-Max-Age",
	}
)

// answered returns how the call's answer differs from the documents, and which
// documented answer it shows, such as "hostup getMe 200", or "" if it belongs to no
// operation.
func (c *call) answered() (operation node, shown string, wrong []error) {
	o, status := openapiOf(c.request.URL.Path), strconv.Itoa(c.answer.StatusCode)
	operation, found := o.node().get("paths", c.request.URL.Path, c.method())
	if !found {
		name, want := c.noOperation(o)
		response, _ := o.node().get("components", "responses", name)
		if status != want {
			return operation, "", []error{fmt.Errorf("%s documents no %s %s", o.name, c.request.Method, c.request.URL.Path)}
		}
		return operation, "", c.holdAnswer(response)
	}
	shown = o.name + " " + operation.text("operationId") + " " + status
	response, found := operation.get("responses", status)
	if !found {
		return operation, shown, []error{fmt.Errorf("%s is not documented", shown)}
	}
	return operation, shown, c.holdAnswer(response)
}

// accepted reports whether the answer says that the whole request was valid.
func (c *call) accepted() bool {
	return c.answer.StatusCode < 400 && c.answer.StatusCode != http.StatusMultiStatus
}

// method returns the operation's method: HEAD is GET without the body (RFC 9110,
// section 9.3.2).
func (c *call) method() string {
	if c.request.Method == http.MethodHead {
		return "get"
	}
	return strings.ToLower(c.request.Method)
}

// noOperation returns the documented answer to a request without an operation, and
// its status.
func (c *call) noOperation(o *openapi) (response, status string) {
	if _, found := o.node().get("paths", c.request.URL.Path); !found {
		return "NoRoute", "404"
	}
	if c.request.Method == http.MethodOptions {
		return "Options", "204"
	}
	return "MethodNotAllowed", "405"
}

func (c *call) holdAnswer(response node) (wrong []error) {
	headers, _ := response.get("headers")
	for name := range headers.members() {
		header, _ := headers.get(name)
		schema, _ := header.get("schema")
		values := c.answer.Header.Values(name)
		if header.members()["required"] == true && len(values) == 0 {
			wrong = append(wrong, fmt.Errorf("answer lacks %s", name))
		}
		for _, value := range values {
			if err := schema.validateText(value); err != nil {
				wrong = append(wrong, fmt.Errorf("answer's %s is %q: %w", name, value, err))
			}
		}
	}
	for name := range c.answer.Header {
		if _, known := headers.members()[documentedName(headers, name)]; !known && !slices.Contains(answerHeaders, name) {
			wrong = append(wrong, fmt.Errorf("answer's %s is not documented", name))
		}
	}
	content, documented := response.get("content")
	switch {
	case documented && c.request.Method != http.MethodHead:
		wrong = append(wrong, checkBody("answer", content, c.answer.Header.Get("Content-Type"), c.received)...)
	case c.received != "":
		wrong = append(wrong, fmt.Errorf("answer has a body, which is not documented: %s", c.received))
	}
	return wrong
}

// documentedName returns a header's name as the document writes it, in any letter
// case.
func documentedName(headers node, name string) string {
	for documented := range headers.members() {
		if strings.EqualFold(documented, name) {
			return documented
		}
	}
	return ""
}

func (c *call) holdRequest(operation node) (wrong []error) {
	known := map[string]node{}
	parameters, _ := operation.get("parameters")
	list, _ := parameters.value.([]any)
	for i := range list {
		parameter, _ := parameters.get(strconv.Itoa(i))
		known[parameter.text("in")+" "+strings.ToLower(parameter.text("name"))] = parameter
	}
	hold := func(in, name string, values []string) {
		parameter, ok := known[in+" "+strings.ToLower(name)]
		if !ok {
			wrong = append(wrong, fmt.Errorf("request's %s %s is not documented", in, name))
			return
		}
		schema, _ := parameter.get("schema")
		for _, value := range values {
			if err := schema.validateText(value); err != nil {
				wrong = append(wrong, fmt.Errorf("request's %s %s: %w", in, name, err))
			}
		}
	}
	for name, values := range c.request.Header {
		if !slices.Contains(requestHeaders, name) {
			hold("header", name, values)
		}
	}
	for name, values := range c.request.URL.Query() {
		hold("query", name, values)
	}
	body, _ := operation.get("requestBody")
	content, documented := body.get("content")
	switch {
	case documented && (c.sent != "" || body.members()["required"] == true):
		wrong = append(wrong, checkBody("request", content, c.request.Header.Get("Content-Type"), c.sent)...)
	case c.sent != "":
		wrong = append(wrong, errors.New("request has a body, which is not documented"))
	}
	return wrong
}

// checkBody checks a body against the schema of its content type.
func checkBody(whose string, content node, contentType, body string) []error {
	media, _, _ := strings.Cut(contentType, ";")
	schema, ok := content.get(media, "schema")
	if !ok {
		return []error{fmt.Errorf("%s's content type %q is not documented", whose, contentType)}
	}
	value, err := parseBody(media, body)
	if err != nil {
		return []error{fmt.Errorf("%s cannot be read: %w", whose, err)}
	}
	if err := schema.validate(value); err != nil {
		return []error{fmt.Errorf("%s is not as documented: %w", whose, err)}
	}
	return nil
}

func parseBody(media, body string) (any, error) {
	if media != "application/x-www-form-urlencoded" {
		return jsonschema.UnmarshalJSON(strings.NewReader(body))
	}
	form, err := url.ParseQuery(body)
	members := map[string]any{}
	for name, values := range form {
		members[name] = strings.Join(values, "\x00") // no documented value may be repeated
	}
	return members, err
}

// shared lists the statuses that one place decides for all operations, before their
// own code runs. One operation of each document must show them.
var shared = map[string]string{
	"406": "auth.go", "408": "readbody.go", "413": "readbody.go", "415": "readbody.go", "429": "ratelimit.go", "500": "exchange.go", "503": "jwks.go",
}

// unshown says why no script shows a documented answer, or all answers of a status.
var unshown = map[string]string{
	"503": "takes an issuer that is away, or a follower that has stopped; Go tests show both",

	"hostup updateMe 409":             busy,
	"hostup cancelEmailChange 409":    busy,
	"hostup changePassword 409":       busy,
	"payway createAccount 409":        busy,
	"payway updateAccount 409":        busy,
	"payway updateAccountEarlier 409": busy,
}

const busy = "takes other nodes that keep changing the account"

// requireAllShown reports documented answers that no script shows, and entries of
// unshown that are no longer needed.
func requireAllShown(t *testing.T, shown map[string]bool) {
	for name, o := range openapis() {
		missing, some := map[string]string{}, map[string]bool{}
		o.operations(func(_, _ string, operation node) {
			responses, _ := operation.get("responses")
			for status := range responses.members() {
				answer := name + " " + operation.text("operationId") + " " + status
				some[status] = some[status] || shown[answer]
				switch {
				case shown[answer] && unshown[answer] != "":
					t.Errorf("%s is shown by now", answer)
				case !shown[answer] && unshown[answer]+unshown[status] == "":
					missing[answer] = status
				}
			}
		})
		for answer, status := range missing {
			if shared[status] == "" || !some[status] {
				t.Errorf("no script shows %s", answer)
			}
		}
	}
}
