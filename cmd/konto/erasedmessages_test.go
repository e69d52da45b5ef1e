package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/projections/nats"
)

// gossip serves an account, with letters about it and about another one, that
// nobody could record.
type gossip struct {
	*leaving
	server   *running
	registry *sender
}

func newGossip(t *testing.T) *gossip {
	t.Helper()
	g := &gossip{leaving: newLeaving(t)}
	var url string
	g.server, _, url = serve(t, g.folder)
	g.registry = newSender(t, g.folder, url, "registry")
	for _, ref := range []string{`\u0061nna@example.com`, "new@example.com", commands.ClientPrefix + g.id.String(), "other@example.com"} {
		g.registry.send(fmt.Sprintf(`{"account":"%s","unknown":1}`, ref))
	}
	g.untilLetters(4)
	return g
}

func (g *gossip) untilLetters(n int) []map[string]any {
	g.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if letters := mustLines(g.t, g.in("inbound", "dead-letters")...); len(letters) == n {
			return letters
		}
	}
	g.t.Fatalf("there never were %d letters", n)
	return nil
}

func TestMessagesOfErasedAccountsAreDeleted(t *testing.T) {
	g := newGossip(t)
	g.registry.send(`{"account":"hanna@example.com","unknown":1}`)
	g.untilLetters(5)
	must(t, g.in("account", "erase", "anna@example.com", "--yes")...)
	left := mustLines(t, g.in("inbound", "dead-letters")...)
	if len(left) != 2 || left[0]["body"] != `{"account":"other@example.com","unknown":1}` || left[1]["body"] != `{"account":"hanna@example.com","unknown":1}` {
		t.Errorf("left are %v", left)
	}
	for _, member := range []string{"verified", "unknown"} {
		g.registry.send(fmt.Sprintf(`{"account":"acct_%s","%s":true}`, g.id, member), "Nats-Msg-Id", "about anna")
	}
	for _, letter := range g.untilLetters(4)[2:] {
		if letter["body"] != nil && letter["body"] != "" || letter["messageId"] != nil || letter["reason"] == "" || letter["from"] != "registry" {
			t.Errorf("a letter of later says %v", letter)
		}
	}
}

// Without a server, and with NATS away, the letters wait for the next one that has it.
func TestMessagesThatCouldNotBeReachedAreDeletedAtTheNextStart(t *testing.T) {
	erase := map[string]func(g *gossip){
		"no server": func(g *gossip) { must(g.t, g.in("account", "erase", "anna@example.com", "--yes")...) },
		"no NATS": func(g *gossip) {
			h := g.open()
			conn, err := nats.Dial(nats.DialConfig{URL: "nats://127.0.0.1:1"})
			if err != nil {
				g.t.Fatal(err)
			}
			h.Erasures.Serve(nats.NewInbound(conn, nil, nil))
			err = h.Follow(g.t.Context(), func(ctx context.Context) error {
				_, err := h.Erasures.Erase(ctx, g.id, datafolder.Itself())
				return err
			})
			if err == nil {
				g.t.Error("it says that all is done")
			}
			if _, err := h.Keys.Cipher(g.t.Context(), events.AccountStream(g.id)); !errors.Is(err, eventstore.ErrDestroyed) {
				g.t.Errorf("its key: %v", err)
			}
			if known, _ := h.Erasures.Ledger.Of(g.id); known.Proof != "" {
				g.t.Error("it has a proof")
			}
			conn.Close()
			if err := h.Close(); err != nil {
				g.t.Fatal(err)
			}
		},
	}
	for name, erase := range erase {
		t.Run(name, func(t *testing.T) {
			g := newGossip(t)
			g.server.stop()
			erase(g)
			g.server, _, _ = serve(t, g.folder)
			g.untilLetters(1)
			must(t, g.in("account", "erase", g.id.String(), "--yes")...) // behind what removed them
			g.server.stop()
			h := g.open()
			defer h.Close()
			if rows, err := h.Erasures.Rows.All(t.Context()); err != nil || len(rows) > 0 {
				t.Errorf("what they were found by is still kept, %v", err)
			}
		})
	}
}
