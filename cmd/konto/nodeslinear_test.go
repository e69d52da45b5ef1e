//go:build servers

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/go-json-experiment/json"

	"konto/eventstore/postgres/postgrestest"
)

var nodesRounds = flag.Int("nodesrounds", 1, "how often TestNodesHistoriesAreLinearizable kills a primary, kills a node and pauses a node")

// nodesCall is one request and its repetitions. What it is about is one object of the model: an
// account's version and name, or the registry of email addresses, which is that of several accounts.
type nodesCall struct {
	object  string
	kind    string // get, set, where, move
	account int
	version uint64 // of If-Match, or 0 without it
	value   string // set: the name; move: the address
}

// nodesAnswer is what was answered. The outcome is unknown if the status is 0.
type nodesAnswer struct {
	status  int
	version uint64 // of the ETag
	Name    string `json:"name"`
	Email   string `json:"email"`
	Error   string `json:"error"`
}

const registered = 3 // accounts that share a few addresses

// nodesState is that of one object.
type nodesState struct {
	version uint64 // 0 before the first read
	name    string
	emails  [registered]string
}

func ownAddress(account int) string { return fmt.Sprintf("own%d@example.com", account) }

// nodesModel says what each call does. A call whose outcome is unknown was executed, at any time
// after it began, or was not.
var nodesModel = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		byObject := map[string][]porcupine.Operation{}
		for _, o := range history {
			object := o.Input.(nodesCall).object
			byObject[object] = append(byObject[object], o)
		}
		for _, part := range byObject {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() []any {
		var s nodesState
		for i := range s.emails {
			s.emails[i] = ownAddress(i)
		}
		return []any{s}
	},
	Step: func(state, input, output any) []any {
		before, call, answer := state.(nodesState), input.(nodesCall), output.(nodesAnswer)
		after, possible, refused := before, false, 0
		switch call.kind {
		case "get":
			after.version, after.name = answer.version, answer.Name
			if after == before || before.version == 0 {
				return []any{after}
			}
			return nil
		case "where":
			if answer.Email == before.emails[call.account] {
				return []any{before}
			}
			return nil
		case "set":
			possible, refused = call.version == 0 || call.version == before.version, http.StatusPreconditionFailed
			after.version, after.name = before.version+1, call.value
		case "move":
			after.emails[call.account] = ""
			possible, refused = !slices.Contains(after.emails[:], call.value), http.StatusConflict
			after.emails[call.account] = call.value
		}
		shown := call.kind == "set" && answer.version == after.version && answer.Name == after.name ||
			call.kind == "move" && answer.Email == call.value
		switch {
		case answer.status == 0 && possible:
			return []any{before, after}
		case answer.status == 0, answer.status == refused && !possible:
			return []any{before}
		case answer.status == http.StatusOK && possible && shown:
			return []any{after}
		}
		return nil
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}).ToModel()

// nodesHistory records calls.
type nodesHistory struct {
	t      *testing.T
	nodes  []string // their URLs
	tokens map[string][]string
	names  atomic.Int64

	mu    sync.Mutex
	begin time.Time
	calls []porcupine.Operation
	known int
}

// record makes a call and records it, unless nothing was done.
func (h *nodesHistory) record(client int, random *rand.Rand, call nodesCall, repeat bool) nodesAnswer {
	began := int64(time.Since(h.begin))
	answer, pending := h.call(random, call, repeat)
	o := porcupine.Operation{ClientId: client, Input: call, Call: began, Output: answer, Return: int64(time.Since(h.begin))}
	h.mu.Lock()
	defer h.mu.Unlock()
	if answer.status != 0 {
		h.known++
		h.calls = append(h.calls, o)
	}
	// An Idempotency-Key remembers what was stored, and no refusal. So a node that was paused with
	// the first request may store it after another node has refused the second one.
	if writes := call.kind == "set" || call.kind == "move"; pending && writes && answer.status != http.StatusOK {
		o.Output, o.Return = nodesAnswer{}, math.MaxInt64
		h.calls = append(h.calls, o)
	}
	return answer
}

// call sends a request to any node. If it is to be repeated, it has an Idempotency-Key, and goes to any
// node again until there is an answer. pending means that a node may have done, or may yet do, what it
// gave no answer to.
func (h *nodesHistory) call(random *rand.Rand, call nodesCall, repeat bool) (answer nodesAnswer, pending bool) {
	method, body, header := http.MethodGet, "", http.Header{}
	switch call.kind {
	case "set":
		method, body = http.MethodPatch, fmt.Sprintf(`{"name":%q}`, call.value)
	case "move":
		method, body = http.MethodPatch, fmt.Sprintf(`{"email":%q}`, call.value)
	}
	header.Set("Authorization", "Bearer "+h.tokens[call.object][call.account])
	if call.version != 0 {
		header.Set("If-Match", `"`+strconv.FormatUint(call.version, 10)+`"`)
	}
	if repeat {
		header.Set("Idempotency-Key", strconv.FormatInt(h.names.Add(1), 10))
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		answer, err := h.send(random, method, body, header)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED): // the node does not run
			continue
		case err != nil || answer.status == http.StatusInternalServerError:
			pending = true
		case answer.status == http.StatusServiceUnavailable || answer.Error == "conflict":
			// The answer says that nothing was changed.
		default:
			return answer, pending
		}
		if !repeat {
			break
		}
	}
	return nodesAnswer{}, pending
}

func (h *nodesHistory) send(random *rand.Rand, method, body string, header http.Header) (answer nodesAnswer, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+random.IntN(3))*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, h.nodes[random.IntN(len(h.nodes))]+"/v1/account", strings.NewReader(body))
	if err != nil {
		return answer, err
	}
	if r.Header = header.Clone(); body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, err
	}
	answer.status = got.StatusCode
	answer.version, _ = strconv.ParseUint(strings.Trim(got.Header.Get("ETag"), `"`), 10, 64)
	switch got.StatusCode {
	case http.StatusOK, http.StatusPreconditionFailed, http.StatusConflict, http.StatusServiceUnavailable, http.StatusInternalServerError:
	default:
		h.t.Errorf("%s %s: %d %s", method, body, got.StatusCode, text)
	}
	return answer, nil
}

// client makes calls until stop is closed.
func (h *nodesHistory) client(id int, random *rand.Rand, objects []string, shared []string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		object, repeat := objects[random.IntN(len(objects))], random.IntN(2) == 0
		if object == "registry" {
			call := nodesCall{object: object, kind: "move", account: random.IntN(registered)}
			call.value = append([]string{ownAddress(call.account)}, shared...)[random.IntN(1+len(shared))]
			if random.IntN(3) == 0 {
				call.kind, call.value, repeat = "where", "", false
			}
			h.record(id, random, call, repeat)
			continue
		}
		call := nodesCall{object: object, kind: "get"}
		kind := random.IntN(3)
		if kind > 0 {
			read := h.record(id, random, call, false)
			if kind == 1 || read.status != http.StatusOK {
				continue
			}
			call.version = read.version
		}
		call.kind, call.value = "set", fmt.Sprintf("n%d x", h.names.Add(1))
		h.record(id, random, call, repeat)
	}
}

// await waits until n more calls have returned with a known outcome.
func (h *nodesHistory) await(n int) {
	h.t.Helper()
	known := func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.known
	}
	for target, deadline := known()+n, time.Now().Add(2*time.Minute); known() < target; {
		if time.Now().After(deadline) {
			h.t.Fatal("calls do not return")
		}
		time.Sleep(10 * time.Millisecond) // a history has no end to wait for
	}
}

// Clients send each request to any of three nodes, while the primary, a node's process and a node's
// time are lost. What they are answered is what one account service in one place could have answered.
func TestNodesHistoriesAreLinearizable(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	primary := postgrestest.Primary(t)
	standby, _ := primary.Standby(t, "standby0")
	front := postgrestest.NewProxy(t, primary.Port)
	n := newNodes(t, front.Through(t, primary.URL()))
	a, b, c := n.start(t, "a"), n.start(t, "b"), n.start(t, "c")

	h := &nodesHistory{t: t, nodes: []string{a.url, b.url, c.url}, tokens: map[string][]string{}, begin: time.Now()}
	open := func(object, email string) {
		n.must(t, "account", "open", "--email", email)
		key := n.must(t, "key", "issue", "--account", email, "--scope", "read:account", "--scope", "write:account")
		h.tokens[object] = append(h.tokens[object], key["token"].(string))
	}
	objects := []string{"anna", "bo", "registry"}
	for i := range registered {
		open("registry", ownAddress(i))
	}
	first := rand.New(rand.NewPCG(seed, math.MaxUint64))
	for _, object := range objects[:2] {
		open(object, object+"@example.com")
		if read := h.record(0, first, nodesCall{object: object, kind: "get"}, false); read.status != http.StatusOK {
			t.Fatal(read)
		}
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 9 {
		clients.Go(func() {
			h.client(i, rand.New(rand.NewPCG(seed, uint64(i))), objects, []string{"one@example.com", "two@example.com"}, stop)
		})
	}
	for range *nodesRounds {
		h.await(200)
		primary.Kill(t)
		standby.Promote(t)
		front.Lead(standby.Port)
		front.Break()
		primary = standby
		standby, _ = primary.Standby(t, "standby")
		h.await(200)
		b.kill()
		h.await(200)
		b.again(t)
		h.await(200)
		c.pause(6 * time.Second) // a lease lasts 5 s
		h.await(200)
	}
	close(stop)
	clients.Wait()

	kinds := map[string]int{}
	for _, o := range h.calls {
		kinds[fmt.Sprintf("%s %d", o.Input.(nodesCall).kind, o.Output.(nodesAnswer).status)]++
	}
	result, info := porcupine.CheckOperationsVerbose(nodesModel, h.calls, 2*time.Minute)
	t.Logf("%d calls, %d rounds: %s; %v", len(h.calls), *nodesRounds, result, kinds)
	if result != porcupine.Ok {
		file, err := os.CreateTemp("", "history-*.html")
		if err == nil {
			err = errors.Join(porcupine.Visualize(nodesModel, info, file), file.Close())
		}
		t.Errorf("the history is not linearizable; it is drawn in %s (%v)", file.Name(), err)
	}
	for _, each := range []string{"get 200", "set 200", "set 412", "where 200", "move 200", "move 409"} {
		if kinds[each] == 0 {
			t.Errorf("the history has no %s", each)
		}
	}
}

// What a command took away, no node admits any more once the command has returned: neither a node
// that was paused meanwhile, nor any node after the primary was lost.
func TestNodesAdmitNothingThatWasRevoked(t *testing.T) {
	primary := postgrestest.Primary(t)
	standby, _ := primary.Standby(t, "standby0")
	front := postgrestest.NewProxy(t, primary.Port)
	n := newNodes(t, front.Through(t, primary.URL()))
	all := []*node{n.start(t, "a"), n.start(t, "b"), n.start(t, "c")}
	const password = "correct horse battery staple"
	r := kontoWith(t, password, "account", "open", "--email", "anna@example.com", "--password-stdin", "--data", n.folder)
	if r.status != exitDone {
		t.Fatal(r.stderr)
	}
	issue := func() (id, token string) {
		key := n.must(t, "key", "issue", "--account", "anna@example.com", "--scope", "read:account", "--scope", "write:account")
		return key["id"].(string), key["token"].(string)
	}
	ask := func(at *node, token string) int {
		status, _ := send(t, "GET", at.url+"/v1/account", token, "")
		return status
	}

	_, own := issue()
	session := n.must(t, "session", "open", "--account", "anna@example.com")["cookie"].(string)
	for _, at := range all { // now each has the session and the password's hash in memory
		if status := ask(at, session); status != http.StatusOK {
			t.Errorf("node %s answers %d to an open session", at.name, status)
		}
	}
	current := password
	for i, at := range all {
		next := fmt.Sprintf("%s %d", password, i)
		body := fmt.Sprintf(`{"currentPassword":%q,"newPassword":%q}`, current, next)
		if status, answer := send(t, "POST", at.url+"/api/v2/me/actions/change-password", own, body); status != http.StatusOK {
			t.Fatalf("node %s answers %d %s", at.name, status, answer)
		}
		for _, other := range all {
			if status := ask(other, session); status != http.StatusUnauthorized {
				t.Errorf("node %s answers %d to a session that a change of the password has closed", other.name, status)
			}
			for given, want := range map[string]int{current: http.StatusBadRequest, next: http.StatusOK} {
				body := fmt.Sprintf(`{"newEmail":"new@example.com","currentPassword":%q}`, given)
				if status, answer := send(t, "POST", other.url+"/api/v2/me/actions/change-email", own, body); status != want {
					t.Errorf("after a change on node %s, node %s answers %d instead of %d: %s", at.name, other.name, status, want, answer)
				}
			}
		}
		current = next
	}

	id, token := issue()
	for _, at := range all {
		if status := ask(at, token); status != http.StatusOK {
			t.Errorf("node %s answers %d to a key", at.name, status)
		}
	}
	paused := all[2]
	paused.cmd.Process.Signal(syscall.SIGSTOP)
	n.must(t, "key", "revoke", id)
	var asked, answered sync.WaitGroup
	for range 8 { // requests that the node finds when it goes on
		asked.Add(1)
		answered.Go(func() {
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { asked.Done() }})
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, paused.url+"/v1/account", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			answer, err := (&http.Transport{}).RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusUnauthorized && answer.StatusCode < 500 {
				t.Errorf("a node that was paused answers %d to a key that was revoked meanwhile", answer.StatusCode)
			}
		})
	}
	asked.Wait()
	paused.cmd.Process.Signal(syscall.SIGCONT)
	answered.Wait()

	lost, lostToken := issue()
	for _, at := range all {
		if status := ask(at, lostToken); status != http.StatusOK {
			t.Errorf("node %s answers %d to a key", at.name, status)
		}
	}
	n.must(t, "key", "revoke", lost)
	primary.Kill(t)
	standby.Promote(t)
	front.Lead(standby.Port)
	front.Break()
	standby.Standby(t, "standby1")
	for _, token := range []string{token, lostToken, session} {
		for _, at := range all {
			status := ask(at, token)
			for deadline := time.Now().Add(patience); status >= 500 && time.Now().Before(deadline); status = ask(at, token) {
			}
			if status != http.StatusUnauthorized {
				t.Errorf("after a failover node %s answers %d to what was revoked before", at.name, status)
			}
		}
	}
}
