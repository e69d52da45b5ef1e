package main

import (
	"fmt"
	"testing"
)

func TestFactSentTwiceIsRecordedOnce(t *testing.T) {
	for name, header := range map[string]string{"CloudEvents": "ce-id", "JetStream": "Nats-Msg-Id"} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			first, _, nats := serve(t, folder)
			must(t, "account", "open", "--data", folder, "--email", "anna@example.com")
			registry, next := newSender(t, folder, nats, "registry"), recorded(t, folder, nats)
			billing := newSender(t, folder, nats, "billing")
			fact := func(n int) string { return fmt.Sprintf(`{"account":"anna@example.com","activeDomains":%d}`, n) }
			expect := func(n int) {
				t.Helper()
				if got, want := next(), fmt.Sprintf(`{"activeDomains":%d}`, n); got != want {
					t.Errorf("recorded %s, want %s", got, want)
				}
			}
			registry.send(fact(1), header, "m-1")
			expect(1)
			registry.send(fact(2), header, "m-2")
			expect(2)
			registry.send(fact(1), header, "m-1") // would undo what was recorded since
			registry.send(fact(3), header, "m-3")
			expect(3)
			billing.send(fact(4), header, "m-1") // its own
			expect(4)
			if status := first.stop(); status != exitDone {
				t.Fatalf("ended with %d: %s", status, first.stderr)
			}
			_, _, nats = serve(t, folder)
			registry.js, next = jetStream(t, nats, registry.key["token"].(string)), recorded(t, folder, nats)
			for i := range 4 {
				expect(i + 1) // from the stream's beginning
			}
			registry.send(fact(1), header, "m-1")
			registry.send(fact(9), header, "m-2") // not what m-2 was
			registry.send(fact(5), header, "m-5")
			expect(5)
			letters := mustLines(t, "inbound", "dead-letters", "--data", folder)
			if len(letters) != 1 || letters[0]["reason"] != "its id is that of another message" {
				t.Errorf("dead letters %v", letters)
			}
		})
	}
}

// Facts are recorded in their order, each once, across an end in their midst.
func TestFactsKeepTheirOrderAcrossARestart(t *testing.T) {
	const all = 1000
	folder := t.TempDir()
	first, _, nats := serve(t, folder)
	id := mustJSON(t, "account", "open", "--data", folder, "--email", "anna@example.com")["id"].(string)
	registry, next := newSender(t, folder, nats, "registry"), recorded(t, folder, nats)
	for i := range all {
		if _, err := registry.js.PublishAsync(factsSubject, fmt.Appendf(nil, `{"account":%q,"activeDomains":%d}`, id, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	<-registry.js.PublishAsyncComplete()
	for range all / 10 {
		next()
	}
	if status := first.stop(); status != exitDone {
		t.Fatalf("ended with %d: %s", status, first.stderr)
	}
	before := len(factEvents(t, folder, id))
	if before == all {
		t.Fatal("all were recorded before the end")
	}
	_, _, nats = serve(t, folder)
	next = recorded(t, folder, nats)
	for i := range all {
		if got, want := next(), fmt.Sprintf(`{"activeDomains":%d}`, i+1); got != want {
			t.Fatalf("recorded %s, want %s (%d came before the end)", got, want, before)
		}
	}
	if n := len(factEvents(t, folder, id)); n != all {
		t.Errorf("%d facts in the log", n)
	}
}
