package http

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/memory"
	"konto/projections"
)

// BenchmarkUpdate measures one update at a time through the handler, on a log
// in memory without followers: the cost of this package and of commands.
func BenchmarkUpdate(b *testing.B) {
	const me = `","lastName":"Lovelace","phoneNumber":"+46701234567","languageCode":"sv","companyName":"Analytical Engines Ltd",` +
		`"address":{"street":"Bahnhofstrasse 1","postalCode":"80010","city":"Stockholm","state":"Stockholm County"}}`
	for _, test := range []struct{ name, method, path, token, body, rest string }{
		{"hostup", http.MethodPatch, "/api/v2/me", "key", `{"firstName":"Ada`, me},
		{"generic", http.MethodPatch, "/v1/account", "key", `{"settings":{"language":"sv","currency":"SEK"},"name":"Ada `, `"}`},
		{"payway", http.MethodPut, "/external/api/v1/accounts", "client", `{"id":"` + benchPaywayID + `","email":"anna@example.com","first_name":"Ada`, `"}`},
	} {
		b.Run(test.name, func(b *testing.B) {
			h := newBenchHouse(b)
			n := 0
			for b.Loop() {
				n++
				h.request(test.method, test.path, test.token, test.body+strconv.Itoa(n)+test.rest)
			}
		})
	}
}

// BenchmarkRead measures one read at a time, as BenchmarkUpdate does.
func BenchmarkRead(b *testing.B) {
	for _, test := range []struct{ name, path, token string }{
		{"hostup", "/api/v2/me", "key"},
		{"generic", "/v1/account", "key"},
		{"payway", "/external/api/v1/accounts?id=" + benchPaywayID, "client"},
	} {
		b.Run(test.name, func(b *testing.B) {
			h := newBenchHouse(b)
			for b.Loop() {
				h.request(http.MethodGet, test.path, test.token, "")
			}
		})
	}
}

const benchPaywayID = "0123456789abcdef01234567"

// benchHarness is a konto with a log in memory, whose handler is called directly.
type benchHarness struct {
	b       *testing.B
	handler http.Handler
	tokens  map[string]string
	answer  discarded
	body    strings.Reader
}

func newBenchHouse(b *testing.B) *benchHarness {
	b.ReportAllocs()
	h := &benchHarness{b: b, tokens: map[string]string{}, answer: discarded{header: http.Header{}}}
	master := sha256.Sum256([]byte("a konto for benchmarks"))
	dir := b.TempDir()
	keys, err := keyring.Open(b.Context(), filepath.Join(dir, "keys.db"), master[:])
	h.must(err)
	b.Cleanup(func() { keys.Close() })
	log := memory.New()
	store := eventstore.NewStore(log, keys)
	model, err := projections.OpenReadModel(b.Context(), filepath.Join(dir, "read.db"), log, keys)
	h.must(err)
	b.Cleanup(func() { model.Close() })
	follower := projections.NewFollower(projections.FollowerConfig{Name: "read-model", Store: store, Projection: model})
	accounts, credentials := commands.NewAccounts(commands.Config{Store: store}), commands.NewCredentials(store, nil)
	h.handler = New(Config{Accounts: accounts, Access: model, Reader: &projections.Reader{Store: store, Model: model, Follower: follower}})

	id := ulid.Make()
	_, err = accounts.Do(b.Context(), id, events.Metadata{}, commands.Open{
		Email: "anna@example.com", PaywayID: benchPaywayID,
		Profile: events.ProfileUpdated{FirstName: events.Set("Anna"), CountryCode: events.Set("SE"), PhoneNumber: events.Set("+46701234567")},
	})
	h.must(err)
	key, err := credentials.IssueKey(b.Context(), events.Metadata{}, events.KeyIssued{
		Account: id, Scopes: []string{"read:account", "write:account"},
	})
	h.must(err)
	client, err := credentials.IssueKey(b.Context(), events.Metadata{}, events.KeyIssued{
		Client: "shop", Scopes: []string{"/external/account/r", "/external/account/w"},
	})
	h.must(err)
	h.tokens["key"], h.tokens["client"] = key.Token, client.Token
	h.follow(follower, client.Position)
	return h
}

// follow brings the read model to a position and stops the follower there.
func (h *benchHarness) follow(f *projections.Follower, position uint64) {
	ctx, stop := context.WithCancel(h.b.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	h.must(f.WaitFor(ctx, position))
	stop()
	h.must(<-done)
}

func (h *benchHarness) must(err error) {
	h.b.Helper()
	if err != nil {
		h.b.Fatal(err)
	}
}

func (h *benchHarness) request(method, target, token, body string) {
	u, err := url.ParseRequestURI(target)
	h.must(err)
	h.body.Reset(body)
	r := &http.Request{
		Method: method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "konto.test", RequestURI: target,
		Header: http.Header{"Authorization": {"Bearer " + h.tokens[token]}, "Content-Type": {"application/json"}},
		Body:   io.NopCloser(&h.body), ContentLength: int64(len(body)), RemoteAddr: "127.0.0.1:1234",
	}
	clear(h.answer.header)
	h.answer.status = 0
	h.handler.ServeHTTP(&h.answer, r)
	if h.answer.status != http.StatusOK {
		h.b.Fatalf("%s %s: %d", method, target, h.answer.status)
	}
}

// discarded is an answer of which only the status is kept.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) WriteHeader(status int)      { d.status = status }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
