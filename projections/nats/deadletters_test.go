package nats

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

// sender publishes facts in the name of a sender, on the subject that the embedded server gives them.
type sender struct {
	r       *fixture
	subject string
}

func (r *fixture) sender(name string) sender { return sender{r, subjects.Facts + "." + name} }

// send publishes one fact and returns its sequence.
func (s sender) send(header natsgo.Header, body []byte) uint64 {
	s.r.t.Helper()
	ack, err := s.r.conn.js.PublishMsg(s.r.t.Context(), &natsgo.Msg{Subject: s.subject, Header: header, Data: body})
	must(s.r.t, err)
	return ack.Sequence
}

func (r *fixture) letters(i *Inbound, limit int) []DeadLetter {
	r.t.Helper()
	letters, err := i.DeadLetters(r.t.Context(), limit)
	must(r.t, err)
	return letters
}

func TestDeadLetterHoldsTheMessageAndTheReason(t *testing.T) {
	r := started(t)
	i := r.inbound()
	c := r.sender("registry")
	sequence := c.send(natsgo.Header{
		"Nats-Msg-Id": {"m-1"}, "ce-id": {"e-1"}, "X-Two": {"a", "b"},
		headerReason: {"forged"}, "Konto-From": {"billing"},
	}, []byte("{}"))
	for range 2 { // the second as after a crash
		must(t, i.StoreDeadLetter(t.Context(), sequence, "no fact is given"))
	}
	must(t, i.StoreDeadLetter(t.Context(), sequence+1, "settled before"))
	letters := r.letters(i, 10)
	if len(letters) != 1 {
		t.Fatalf("%d letters", len(letters))
	}
	l := letters[0]
	if l.Sequence != 1 || l.From != "registry" || l.Reason != "no fact is given" || l.ID != "m-1" || string(l.Body) != "{}" || l.Length != 2 || l.Received.IsZero() {
		t.Errorf("got %+v", l)
	}
	stream, err := r.conn.js.Stream(t.Context(), subjects.DeadLettersStream)
	must(t, err)
	raw, err := stream.GetMsg(t.Context(), 1)
	must(t, err)
	if raw.Subject != subjects.DeadLetters || raw.Header.Get("ce-id") != "e-1" || len(raw.Header["X-Two"]) != 2 || raw.Header["Konto-From"] != nil || raw.Header[headerReason][0] != "no fact is given" {
		t.Errorf("got %s %v", raw.Subject, raw.Header)
	}
}

// The longest message that the stream accepts must still fit when konto has added the reason.
func TestLongMessagesAreCutInTheDeadLetter(t *testing.T) {
	r := started(t)
	i := r.inbound()
	c := r.sender("registry")
	room := maxFact - 1000
	long, wide := bytes.Repeat([]byte("a"), room), strings.Repeat("b", 65_400) // of 65,536 bytes of headers
	must(t, i.StoreDeadLetter(t.Context(), c.send(nil, long), "too long"))
	must(t, i.StoreDeadLetter(t.Context(), c.send(natsgo.Header{"X": {wide}}, nil), "no valid JSON"))
	letters := r.letters(i, 10)
	if len(letters) != 2 {
		t.Fatalf("%d letters", len(letters))
	}
	if l := letters[0]; len(l.Body) != maxDeadBody || l.Length != room || l.Reason != "too long" {
		t.Errorf("%d bytes of %d, %s", len(l.Body), l.Length, l.Reason)
	}
	if err := i.Retry(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("half a message was sent again: %v", err)
	}
}

func TestDeadLettersAreListedFromTheLastOnes(t *testing.T) {
	r := started(t)
	i := r.inbound()
	if letters := r.letters(i, 10); len(letters) != 0 {
		t.Fatalf("%d letters", len(letters))
	}
	c := r.sender("registry")
	for _, body := range []string{"a", "b", "c", "d"} {
		must(t, i.StoreDeadLetter(t.Context(), c.send(nil, []byte(body)), body))
	}
	must(t, i.Retry(t.Context(), 3))
	if _, dead, err := i.Count(t.Context()); err != nil || dead != 3 {
		t.Errorf("%d letters are counted, %v", dead, err)
	}
	for limit, want := range map[int]string{1: "d", 2: "bd", 3: "abd", 10: "abd", 0: ""} {
		got := ""
		for _, l := range r.letters(i, limit) {
			got += string(l.Body)
		}
		if got != want {
			t.Errorf("%d: %s, want %s", limit, got, want)
		}
	}
}

func TestRetriedDeadLetterIsTheSendersMessageAgain(t *testing.T) {
	r := started(t)
	i := r.inbound()
	_, messages := r.facts(i)
	c := r.sender("registry")
	sequence := c.send(natsgo.Header{"ce-id": {"e-1"}, "X-Own": {"x"}}, []byte("{}"))
	must(t, i.StoreDeadLetter(t.Context(), sequence, "no such account"))
	next(t, messages).Ack()
	must(t, i.Retry(t.Context(), 1))
	m := next(t, messages)
	m.Ack()
	if string(m.Payload) != "{}" || m.Metadata.Get("ce-id") != "e-1" || m.Metadata.Get("X-Own") != "x" ||
		m.Metadata.Get(MetaSubject) != subjects.Facts+".registry" || m.Metadata.Get(headerReason) != "" {
		t.Errorf("got %s %v", m.Payload, m.Metadata)
	}
	if letters := r.letters(i, 10); len(letters) != 0 {
		t.Errorf("%d letters are left", len(letters))
	}
	if err := i.Retry(t.Context(), 1); !errors.Is(err, ErrNoDeadLetter) {
		t.Errorf("got %v", err)
	}
}

func TestDeadLettersStreamIsMadeWhenItIsNeeded(t *testing.T) {
	r := started(t)
	i := r.inbound()
	sequence := r.sender("registry").send(nil, []byte("{}"))
	must(t, r.conn.js.DeleteStream(t.Context(), subjects.DeadLettersStream))
	must(t, i.StoreDeadLetter(t.Context(), sequence, "no fact is given"))
	if letters := r.letters(i, 10); len(letters) != 1 {
		t.Errorf("%d letters", len(letters))
	}
}

func TestSubjectNamesItsSender(t *testing.T) {
	for subject, want := range map[string]string{
		subjects.Facts: "", subjects.Facts + ".registry": "registry", subjects.Facts + ".a.b": "", subjects.DeadLetters: "", subjects.Facts + ".": "",
	} {
		if got := Sender(subject); got != want {
			t.Errorf("%s is of %q", subject, got)
		}
	}
}

// A full stream refuses new facts and keeps the old ones.
func TestFullStreamRefusesFacts(t *testing.T) {
	r := started(t)
	r.inbound()
	stream, err := r.conn.js.Stream(t.Context(), subjects.FactsStream)
	must(t, err)
	small := stream.CachedInfo().Config
	small.MaxBytes = 1000
	_, err = r.conn.js.UpdateStream(t.Context(), small)
	must(t, err)
	c := r.sender("registry")
	first := c.send(nil, []byte("first"))
	_, err = r.conn.js.Publish(t.Context(), c.subject, make([]byte, 2000))
	var refused *jetstream.APIError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	if raw, err := stream.GetMsg(t.Context(), first); err != nil || string(raw.Data) != "first" {
		t.Errorf("got %v, %v", raw, err)
	}
}
