package nats

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"konto/projections/nats/subjects"
)

// publish publishes a fact without a sender, and returns its sequence.
func (r *fixture) publish(header natsgo.Header, body string) uint64 {
	r.t.Helper()
	ack, err := r.conn.js.PublishMsg(r.t.Context(), &natsgo.Msg{Subject: subjects.Facts, Header: header, Data: []byte(body)})
	must(r.t, err)
	return ack.Sequence
}

func has(name string) func([]byte) bool {
	return func(text []byte) bool { return bytes.Contains(text, []byte(name)) }
}

func TestDeadLettersAndWaitingFactsAreDeleted(t *testing.T) {
	r := newFixture(t)
	r.start()
	i := r.inbound()
	for _, body := range []string{"about anna", "about bo", "about anna again"} {
		must(t, i.StoreDeadLetter(t.Context(), r.publish(nil, body), "refused"))
	}
	must(t, i.StoreDeadLetter(t.Context(), r.publish(natsgo.Header{"ce-subject": {"bo", "anna"}}, "{}"), "refused"))
	before := r.waiting()
	r.publish(nil, "anna waits")
	r.publish(nil, "bo waits")
	must(t, i.Delete(t.Context(), has("anna")))
	if letters := r.letters(i, 10); len(letters) != 1 || string(letters[0].Body) != "about bo" {
		t.Errorf("left are %v", letters)
	}
	// Those that were buried are waiting too: nobody acknowledged them.
	if left := r.waiting(); left != before-3+1 {
		t.Errorf("%d facts wait", left)
	}
	must(t, i.Delete(t.Context(), func([]byte) bool { return true }))
	if letters, left := r.letters(i, 10), r.waiting(); len(letters) != 0 || left != 0 {
		t.Errorf("left are %v, and %d facts", letters, left)
	}
}

func TestDeleteWithoutStreamsIsNoError(t *testing.T) {
	r := newFixture(t)
	r.start()
	must(t, NewInbound(r.conn, nil, quiet).Delete(t.Context(), has("anna")))
}

func TestDeleteWithoutNATSIsAnError(t *testing.T) {
	r := newFixture(t)
	r.start()
	i := r.inbound()
	r.conn.nc.Close()
	if err := i.Delete(t.Context(), has("anna")); err == nil {
		t.Error("it says that all is forgotten")
	}
}

func TestDeadLetterAboutAnErasedAccountHoldsOnlyTheReason(t *testing.T) {
	r := newFixture(t)
	r.start()
	i := NewInbound(r.conn, has("anna"), quiet)
	must(t, i.Open(t.Context()))
	for _, m := range []struct {
		header natsgo.Header
		body   string
	}{{natsgo.Header{"Nats-Msg-Id": {"4711"}, "X": {"y"}}, "about anna"}, {natsgo.Header{"ce-subject": {"anna"}}, "{}"}, {nil, "about bo"}} {
		must(t, i.StoreDeadLetter(t.Context(), r.publish(m.header, m.body), "no such account"))
	}
	stream, err := r.conn.js.Stream(t.Context(), subjects.DeadLettersStream)
	must(t, err)
	for sequence, body := range []string{"", "", "about bo"} {
		letter, raw, err := readDeadLetter(t.Context(), stream, uint64(sequence)+1)
		must(t, err)
		if string(letter.Body) != body || letter.Reason != "no such account" || letter.ID != "" || raw.Header.Get("X")+raw.Header.Get("ce-subject") != "" {
			t.Errorf("letter %d: %+v %v", sequence+1, letter, raw.Header)
		}
	}
}

// The server deletes a file with nothing left in it. A newer version may not. The test looks into the
// files of a server that does not encrypt them, and finds only the dead letter.
func TestFactsLeaveTheFilesOnceTheyAreHandled(t *testing.T) {
	r := newFixture(t)
	outside := outsideServer(t, "127.0.0.1:0", r.dir)
	var err error
	r.conn, err = Dial(DialConfig{URL: "nats://" + outside.Addr().String(), Log: quiet})
	must(t, err)
	i := r.inbound()
	r.handled(t, i, "kanarie@example.com", "control@example.com")
	r.conn.Close()
	outside.Shutdown()
	outside.WaitForShutdown()
	if r.onDisk("kanarie@") || !r.onDisk("control@") {
		t.Errorf("the one that was recorded is still there: %v", r.onDisk("kanarie@"))
	}
}

// handled sends two facts, of which the second one becomes a dead letter.
func (r *fixture) handled(t *testing.T, i *Inbound, recorded, refused string) {
	r.t.Helper()
	r.publish(nil, recorded)
	s, messages := r.facts(i)
	next(t, messages).Ack()
	sequence := r.publish(nil, refused)
	m := next(t, messages)
	must(r.t, i.StoreDeadLetter(r.t.Context(), sequence, "refused"))
	m.Ack()
	must(r.t, s.Close())
}

// size returns the size of the files with a stream's messages.
func (r *fixture) size(stream string) (size int64) {
	r.t.Helper()
	blocks, err := filepath.Glob(filepath.Join(r.dir, "jetstream", "*", "streams", stream, "msgs", "*.blk"))
	if must(r.t, err); len(blocks) == 0 {
		r.t.Fatal("there are no files")
	}
	for _, name := range blocks {
		info, err := os.Stat(name)
		must(r.t, err)
		size += info.Size()
	}
	return size
}

// The embedded server encrypts its files, and overwrites nothing in them.
func TestFactsAndDeadLettersLeaveTheEmbeddedServersFilesToo(t *testing.T) {
	r := newFixture(t)
	r.start()
	i := r.inbound()
	long := strings.Repeat("anna", 5_000)
	r.handled(t, i, long, long)
	r.publish(nil, "bo waits")
	r.publish(nil, long)
	must(t, i.Delete(t.Context(), has("anna")))
	if size := r.size(subjects.FactsStream); size < int64(len(long)) {
		t.Errorf("%d bytes are left of what waits", size)
	}
	must(t, i.Delete(t.Context(), has("bo waits")))
	r.stop()
	for _, stream := range []string{subjects.FactsStream, subjects.DeadLettersStream} {
		if size := r.size(stream); size >= int64(len(long)) {
			t.Errorf("%s: %d bytes are left", stream, size)
		}
	}
}

func TestOverwritingAMissingMessageIsNoError(t *testing.T) {
	r := newFixture(t)
	r.start()
	r.inbound()
	stream, err := r.conn.js.Stream(t.Context(), subjects.FactsStream)
	must(t, err)
	sequence := r.publish(nil, "{}")
	for range 2 {
		must(t, overwrite(t.Context(), stream, sequence))
	}
	must(t, overwrite(t.Context(), stream, sequence+7))
	must(t, r.conn.js.DeleteStream(t.Context(), subjects.FactsStream))
	if err := overwrite(t.Context(), stream, sequence); err == nil {
		t.Error("overwritten in a stream that is gone")
	}
}
