//go:build servers

package postgres_test

import (
	"context"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

var failovers = flag.Int("failovers", 2, "how many primaries TestHistoriesAreLinearizable and TestPatroniFailovers kill, each")

// operation is one call. What it is about is one object of the model: a stream or a claim.
type operation struct {
	object   string
	kind     string // append, head, take, release, holder
	expected uint64 // append
	stream   events.Stream
}

// outcome is what the call returned.
type outcome struct {
	unknown bool
	done    bool          // it was stored
	version uint64        // head, and of a conflict
	holder  events.Stream // holder, and of a taken claim
}

// state is that of one object.
type state struct {
	version uint64
	holder  events.Stream
}

// model says what each call does to a stream's version and to a claim's holder. A call whose
// outcome is unknown was stored, at any time after it began, or was not.
var model = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		byObject := map[string][]porcupine.Operation{}
		for _, o := range history {
			object := o.Input.(operation).object
			byObject[object] = append(byObject[object], o)
		}
		for _, part := range byObject {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() []any { return []any{state{}} },
	Step: func(s, input, output any) []any {
		before, op, out := s.(state), input.(operation), output.(outcome)
		after, possible := before, false
		switch op.kind {
		case "append":
			after.version, possible = op.expected+1, before.version == op.expected
		case "take":
			after.holder, possible = op.stream, before.holder == "" || before.holder == op.stream
		case "release":
			if possible = true; before.holder == op.stream {
				after.holder = ""
			}
		case "head", "holder":
			if out.unknown || out.version == before.version && out.holder == before.holder {
				return []any{before}
			}
			return nil
		}
		switch {
		case out.unknown && possible:
			return []any{before, after}
		case out.unknown:
			return []any{before}
		case out.done && possible:
			return []any{after}
		case !out.done && !possible && out.version == before.version && out.holder == before.holder:
			return []any{before} // refused, and told why
		}
		return nil
	},
}).ToModel()

// history records calls.
type history struct {
	mu    sync.Mutex
	begin time.Time
	calls []porcupine.Operation
}

func (h *history) record(client int, op operation, call func() outcome) outcome {
	began := time.Since(h.begin)
	out := call()
	ended := int64(time.Since(h.begin))
	if out.unknown {
		ended = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, porcupine.Operation{ClientId: client, Input: op, Call: int64(began), Output: out, Return: ended})
	return out
}

// client calls one log until stop is closed. A few streams and claims are shared by all clients.
func (h *history) client(id int, log *postgres.Log, random *rand.Rand, streams []events.Stream, keys []eventstore.ClaimKey, stop <-chan struct{}) {
	own := events.AccountStream(ulid.Make()) // takes the claims
	var ownVersion uint64
	for {
		select {
		case <-stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+random.IntN(3))*time.Second)
		stream, key := streams[random.IntN(len(streams))], keys[random.IntN(len(keys))]
		switch kind := random.IntN(5); kind {
		case 0, 1:
			head := h.record(id, operation{object: string(stream), kind: "head"}, func() outcome {
				head, err := log.StreamHead(ctx, stream)
				return outcome{unknown: err != nil, version: head.Version}
			})
			if head.unknown || kind == 0 {
				break
			}
			op := operation{object: string(stream), kind: "append", expected: head.version}
			h.record(id, op, func() outcome {
				_, err := log.Append(ctx, one(stream, op.expected))
				var conflict *eventstore.VersionConflict
				if errors.As(err, &conflict) {
					return outcome{version: conflict.Actual}
				}
				return outcome{done: err == nil, unknown: err != nil}
			})
		case 2:
			h.record(id, operation{object: string(key[:]), kind: "holder"}, func() outcome {
				holder, err := log.Holder(ctx, key)
				return outcome{unknown: err != nil, holder: holder}
			})
		default:
			op := operation{object: string(key[:]), kind: "take", stream: own}
			if kind == 4 {
				op.kind = "release"
			}
			out := h.record(id, op, func() outcome {
				b := one(own, ownVersion)
				b.Claims = []eventstore.ClaimOp{{Key: key, Release: op.kind == "release"}}
				_, err := log.Append(ctx, b)
				var taken *eventstore.ClaimTaken
				if errors.As(err, &taken) {
					return outcome{holder: taken.Holder}
				}
				return outcome{done: err == nil, unknown: err != nil}
			})
			switch {
			case out.done:
				ownVersion++
			case out.unknown: // this stream may have been appended to, or may still be: begin another
				own, ownVersion = events.AccountStream(ulid.Make()), 0
			}
		}
		cancel()
	}
}

func TestHistoriesAreLinearizable(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	primary := postgrestest.Primary(t)
	standby, _ := primary.Standby(t, "standby0")
	front := postgrestest.NewProxy(t, primary.Port)
	url := front.Through(t, primary.Database(t))
	logs := []*postgres.Log{openQuietly(t, url), openQuietly(t, url), openQuietly(t, url)}

	streams, keys := make([]events.Stream, 5), make([]eventstore.ClaimKey, 5)
	for i := range streams {
		streams[i], keys[i] = events.AccountStream(ulid.Make()), eventstore.ClaimKey{byte(i + 1)}
	}
	h := &history{begin: time.Now()}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 12 {
		clients.Go(func() {
			h.client(i, logs[i%len(logs)], rand.New(rand.NewPCG(seed, uint64(i))), streams, keys, stop)
		})
	}
	for range *failovers {
		h.await(t, 300)
		primary.Kill(t)
		standby.Promote(t)
		front.Lead(standby.Port)
		front.Break()
		primary = standby
		standby, _ = primary.Standby(t, "standby")
	}
	h.await(t, 300)
	close(stop)
	clients.Wait()

	result, info := porcupine.CheckOperationsVerbose(model, h.calls, 2*time.Minute)
	t.Logf("%d calls, %d failovers: %s", len(h.calls), *failovers, result)
	if result != porcupine.Ok {
		file, err := os.CreateTemp("", "history-*.html")
		if err == nil {
			err = errors.Join(porcupine.Visualize(model, info, file), file.Close())
		}
		t.Errorf("the history is not linearizable; it is drawn in %s (%v)", file.Name(), err)
	}
}

// await waits until n more calls have returned with a known outcome.
func (h *history) await(t *testing.T, n int) {
	t.Helper()
	known := func() (count int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, c := range h.calls {
			if !c.Output.(outcome).unknown {
				count++
			}
		}
		return count
	}
	for target, deadline := known()+n, time.Now().Add(2*time.Minute); known() < target; {
		if time.Now().After(deadline) {
			t.Fatal("calls do not return")
		}
		time.Sleep(10 * time.Millisecond) // a history has no end to wait for
	}
}
