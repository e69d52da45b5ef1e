package nats

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// send publishes one fact and returns its sequence.
func (c *consumer) send(header natsgo.Header, body []byte) uint64 {
	c.t.Helper()
	ack, err := c.js.PublishMsg(c.t.Context(), &natsgo.Msg{Subject: factsSubject, Header: header, Data: body})
	must(c.t, err)
	return ack.Sequence
}

func (r *room) letters(i *Inbound, limit int) []DeadLetter {
	r.t.Helper()
	letters, err := i.DeadLetters(r.t.Context(), limit)
	must(r.t, err)
	return letters
}

func TestDeadLetterIsTheMessageAndWhy(t *testing.T) {
	r, _ := listening(t)
	i := r.inbound()
	c := r.sender(t, "registry")
	sequence := c.send(natsgo.Header{
		"Nats-Msg-Id": {"m-1"}, "ce-id": {"e-1"}, "X-Two": {"a", "b"},
		headerReason: {"forged"}, "Konto-From": {"billing"},
	}, []byte("{}"))
	for range 2 { // the second as after a crash
		must(t, i.Bury(t.Context(), sequence, "no fact is given"))
	}
	must(t, i.Bury(t.Context(), sequence+1, "settled before"))
	letters := r.letters(i, 10)
	if len(letters) != 1 {
		t.Fatalf("%d letters", len(letters))
	}
	l := letters[0]
	if l.Sequence != 1 || l.From != "registry" || l.Reason != "no fact is given" || l.ID != "m-1" || string(l.Body) != "{}" || l.Length != 2 || l.Received.IsZero() {
		t.Errorf("got %+v", l)
	}
	stream, err := r.conn.js.Stream(t.Context(), deadStream)
	must(t, err)
	raw, err := stream.GetMsg(t.Context(), 1)
	must(t, err)
	if raw.Subject != deadSubject || raw.Header.Get("ce-id") != "e-1" || len(raw.Header["X-Two"]) != 2 || raw.Header["Konto-From"] != nil || raw.Header[headerReason][0] != "no fact is given" {
		t.Errorf("got %s %v", raw.Subject, raw.Header)
	}
}

// The longest message that the stream takes must fit once konto has added why.
func TestLongMessagesBecomeShorterLetters(t *testing.T) {
	r, _ := listening(t)
	i := r.inbound()
	c := r.sender(t, "registry")
	room := maxFact - 1000
	long, wide := bytes.Repeat([]byte("a"), room), strings.Repeat("b", 65_400) // of 65,536 bytes of headers
	must(t, i.Bury(t.Context(), c.send(nil, long), "too long"))
	must(t, i.Bury(t.Context(), c.send(natsgo.Header{"X": {wide}}, nil), "no valid JSON"))
	letters := r.letters(i, 10)
	if len(letters) != 2 {
		t.Fatalf("%d letters", len(letters))
	}
	if l := letters[0]; len(l.Body) != maxLetter || l.Length != room || l.Reason != "too long" {
		t.Errorf("%d bytes of %d, %s", len(l.Body), l.Length, l.Reason)
	}
	if err := i.Retry(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("half a message was sent again: %v", err)
	}
}

func TestDeadLettersAreListedFromTheLastOnes(t *testing.T) {
	r, _ := listening(t)
	i := r.inbound()
	if letters := r.letters(i, 10); len(letters) != 0 {
		t.Fatalf("%d letters", len(letters))
	}
	c := r.sender(t, "registry")
	for _, body := range []string{"a", "b", "c", "d"} {
		must(t, i.Bury(t.Context(), c.send(nil, []byte(body)), body))
	}
	must(t, i.Retry(t.Context(), 3))
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

func TestRetriedLetterIsTheSendersMessageAgain(t *testing.T) {
	r, _ := listening(t)
	i := r.inbound()
	_, messages := r.facts(i)
	c := r.sender(t, "registry")
	sequence := c.send(natsgo.Header{"ce-id": {"e-1"}, "X-Own": {"x"}}, []byte("{}"))
	must(t, i.Bury(t.Context(), sequence, "no such account"))
	next(t, messages).Ack()
	must(t, i.Retry(t.Context(), 1))
	m := next(t, messages)
	m.Ack()
	if string(m.Payload) != "{}" || m.Metadata.Get("ce-id") != "e-1" || m.Metadata.Get("X-Own") != "x" ||
		m.Metadata.Get(MetaSubject) != factsSubject+".registry" || m.Metadata.Get(headerReason) != "" {
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
	r, _ := listening(t)
	i := r.inbound()
	sequence := r.sender(t, "registry").send(nil, []byte("{}"))
	must(t, r.conn.js.DeleteStream(t.Context(), deadStream))
	must(t, i.Bury(t.Context(), sequence, "no fact is given"))
	if letters := r.letters(i, 10); len(letters) != 1 {
		t.Errorf("%d letters", len(letters))
	}
}

func TestSenderOfASubject(t *testing.T) {
	for subject, want := range map[string]string{
		factsSubject: "", factsSubject + ".registry": "registry", factsSubject + ".a.b": "", deadSubject: "", factsSubject + ".": "",
	} {
		if got := Sender(subject); got != want {
			t.Errorf("%s is of %q", subject, got)
		}
	}
}

// A full stream refuses facts, and keeps those that it has.
func TestFullStreamRefusesFacts(t *testing.T) {
	r, _ := listening(t)
	r.inbound()
	stream, err := r.conn.js.Stream(t.Context(), factsStream)
	must(t, err)
	small := stream.CachedInfo().Config
	small.MaxBytes = 1000
	_, err = r.conn.js.UpdateStream(t.Context(), small)
	must(t, err)
	c := r.sender(t, "registry")
	first := c.send(nil, []byte("first"))
	_, err = c.js.Publish(t.Context(), factsSubject, make([]byte, 2000))
	var refused *jetstream.APIError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	if raw, err := stream.GetMsg(t.Context(), first); err != nil || string(raw.Data) != "first" {
		t.Errorf("got %v, %v", raw, err)
	}
}
