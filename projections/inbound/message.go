package inbound

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/events"
	"konto/projections/nats"
)

// maxBody bounds the body that is read, in bytes. All facts together need far less.
const maxBody = 64 << 10

// Message is what one sender says about one account.
type Message struct {
	// Name is unique among the messages of all senders.
	Name        string
	Fingerprint [sha256.Size]byte // of its body
	From        string            // the sender's name; "" on an outside server that does not say it
	Trace       string            // a W3C traceparent, or ""
	TraceState  string            // the W3C tracestate that belongs to it, or ""
	Account     string            // any id of the account, or its email address
	Facts       events.FactsRecorded
}

// Refused is the error for a message that can never be recorded. Reason is for the developers of the
// sender. It never holds a value of the message.
type Refused struct{ Reason string }

// Error implements error.
func (e *Refused) Error() string { return "message is refused: " + e.Reason }

// headers returns the values of a header. The names of NATS headers are case-sensitive, but some clients
// write them as HTTP does.
func headers(m *message.Message, name string) []string {
	if value := cmp.Or(m.Metadata.Get(name), m.Metadata.Get(textproto.CanonicalMIMEHeaderKey(name))); value != "" {
		return []string{value}
	}
	return nil
}

// read reads a message of the stream. Its error is a *Refused.
func read(m *message.Message) (Message, error) {
	from := nats.Sender(m.Metadata.Get(nats.MetaSubject))
	out := Message{
		From: from, Name: name(from, m), Fingerprint: sha256.Sum256(m.Payload),
	}
	out.Trace, out.TraceState = events.TraceContext(headers(m, "traceparent"), headers(m, "tracestate"))
	if len(m.Payload) > maxBody {
		return out, &Refused{fmt.Sprintf("the body is longer than %d bytes", maxBody)}
	}
	var b body
	if err := json.Unmarshal(m.Payload, &b, json.RejectUnknownMembers(true)); err != nil {
		return out, &Refused{explain(err)}
	}
	if b.Account.value == nil || *b.Account.value == "" {
		return out, &Refused{"no account is named"}
	}
	out.Account = *b.Account.value
	out.Facts = events.FactsRecorded{
		ActiveDomains: b.ActiveDomains.value, SeNuDomains: b.SeNuDomains.value, Verified: b.Verified.value,
		PendingOrder: b.PendingOrder.Change, BankIDName: b.BankIDName.Change,
	}
	if out.Facts == (events.FactsRecorded{}) {
		return out, &Refused{"no fact is given"}
	}
	return out, nil
}

// name returns the Name of a message. If the sender gave it no id, the name has the message's place in
// the stream, and its time, because another message has the same place if the stream was made again.
func name(from string, m *message.Message) string {
	if id := m.Metadata.Get("ce-id"); id != "" {
		return fmt.Sprintf("inbound %q ce %q %q", from, m.Metadata.Get("ce-source"), id)
	}
	if id := m.Metadata.Get("Nats-Msg-Id"); id != "" {
		return fmt.Sprintf("inbound %q id %q", from, id)
	}
	return fmt.Sprintf("inbound %q at %s %s", from, m.Metadata.Get(nats.MetaTime), m.Metadata.Get(nats.MetaSequence))
}

// body is the JSON that senders write.
type body struct {
	Account       member[string] `json:"account"`
	ActiveDomains member[int]    `json:"activeDomains"`
	SeNuDomains   member[int]    `json:"seNuDomains"`
	PendingOrder  clearable      `json:"pendingOrder"`
	Verified      member[bool]   `json:"verified"`
	BankIDName    clearable      `json:"bankidName"`
}

var members = []string{"/account", "/activeDomains", "/seNuDomains", "/pendingOrder", "/verified", "/bankidName"}

// member may be left out, but must not be null.
type member[T any] struct{ value *T }

var errWrongValue = errors.New("not a value of this member")

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (m *member[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		return errWrongValue
	}
	m.value = new(T)
	return json.UnmarshalDecode(dec, m.value)
}

// clearable is a text that null clears. An empty text is refused, because it is more likely a mistake
// than meant to do the same.
type clearable struct{ events.Change[string] }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (c *clearable) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	null := dec.PeekKind() == 'n'
	if err := c.Change.UnmarshalJSONFrom(dec); err != nil {
		return err
	}
	if !null && strings.TrimSpace(c.To) == "" {
		return errWrongValue
	}
	return nil
}

// explain says what is wrong with a body without quoting it. The decoder's own error may hold values, and
// names that konto does not know.
func explain(err error) string {
	var semantic *json.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "a member is there twice"
	case errors.Is(err, json.ErrUnknownName):
		return "a member is unknown"
	case errors.As(err, &semantic) && slices.Contains(members, string(semantic.JSONPointer)):
		return "the value of " + string(semantic.JSONPointer) + " has the wrong type"
	case errors.As(err, &semantic):
		return "the body is not an object of facts"
	}
	return "the body is not valid JSON"
}
