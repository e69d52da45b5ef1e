package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/cmd/konto/datafolder"
	"konto/events"
	"konto/projections/natsserver"
)

// checkPublished holds what the stream of a folder that nobody serves really
// has against its log: every account event once, in order. It returns how many
// there are.
func checkPublished(t *testing.T, folder string) int {
	t.Helper()
	h, err := datafolder.Open(t.Context(), datafolder.Config{Path: folder, Holder: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var logged []string
	for position := uint64(0); ; {
		page, err := h.Store.ReadAll(t.Context(), position, datafolder.PageSize)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if e.Stream.Category() == events.CategoryAccount {
				logged = append(logged, e.ID.String())
			}
			position = e.Position
		}
	}
	streamed := streamIDs(t, h)
	if !slices.Equal(streamed, logged) {
		t.Errorf("the stream has %d events, the log %d, or they differ", len(streamed), len(logged))
	}
	return len(streamed)
}

// streamIDs reads the stream's files with a server of their own.
func streamIDs(t *testing.T, folder *datafolder.Folder) []string {
	t.Helper()
	broker, err := natsserver.Start(natsserver.Config{
		Dir: filepath.Join(folder.Path, "jetstream"), Key: folder.Keys.Derive("jetstream"), Listen: "127.0.0.1:0",
		Authenticate: func(token string) (natsserver.Holder, bool) { return natsserver.Holder{Name: "test"}, token == "test" },
		Consumers:    func() []string { return []string{"test"} },
		Log:          slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	js := jetStream(t, broker.URL(), "test")
	stream, err := js.Stream(t.Context(), "KONTO")
	if err != nil {
		t.Fatal(err)
	}
	next := follow(t, js)
	ids := make([]string, stream.CachedInfo().State.Msgs)
	for i := range ids {
		ids[i] = next().Headers().Get("ce-id")
	}
	return ids
}

// jetStream connects as a consumer with its own key does.
func jetStream(t *testing.T, url, token string, options ...natsgo.Option) jetstream.JetStream {
	t.Helper()
	conn, err := natsgo.Connect(url, append(options, natsgo.Token(token))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// follow reads the account events from the first that the stream holds.
func follow(t *testing.T, js jetstream.JetStream) (next func() jetstream.Msg) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	consumer, err := js.OrderedConsumer(ctx, "KONTO", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(messages.Stop)
	context.AfterFunc(ctx, messages.Stop)
	return func() jetstream.Msg {
		t.Helper()
		m, err := messages.Next()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}
