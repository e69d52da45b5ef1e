package nats

import (
	"context"
	"encoding/json" // the server decodes with it: what is checked must be what it will see
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxRequest bounds the body of a request, in bytes. Decoding a longer one
	// would take more than some 100 µs.
	maxRequest = 16 << 10

	// maxQueued bounds the requests of one consumer that wait for their turn.
	maxQueued = 128

	// maxConsumers bounds the consumers on the stream, whose files and memory
	// any key could fill otherwise.
	maxConsumers = 1000

	// maxEphemerals bounds the ephemeral consumers of one consumer's keys.
	maxEphemerals = 50

	// gateTimeout bounds what the gate asks of the server in its own process.
	gateTimeout = 5 * time.Second
)

// apiRequest is a kind of request to JetStream's API that consumers may make.
type apiRequest struct {
	subject string // after apiPrefix
	answer  string // the type of JetStream's answer
	// narrow decodes the body of a consumer's request, and tells why JetStream does
	// not get it. What it returns is encoded anew, so that nothing goes to JetStream
	// which narrow did not see. nil: JetStream gets no body, because it needs none.
	narrow func(asker string, body []byte) (any, error)
}

const (
	apiPrefix    = "$JS.API."
	createPrefix = "CONSUMER.CREATE.KONTO."
	infoPrefix   = "CONSUMER.INFO.KONTO."
	deletePrefix = "CONSUMER.DELETE.KONTO."
)

// apiRequests are all that consumers may ask of JetStream's API, but for pulls: a
// pull is read by the pulled consumer itself and never waits with other requests.
var apiRequests = []apiRequest{
	{"INFO", server.JSApiAccountInfoResponseType, nil},
	{"STREAM.NAMES", server.JSApiStreamNamesResponseType, narrowNames},
	{"STREAM.INFO.KONTO", server.JSApiStreamInfoResponseType, narrowStreamInfo},
	{"STREAM.MSG.GET.KONTO", server.JSApiMsgGetResponseType, narrowMessageGet},
	{infoPrefix + "*", server.JSApiConsumerInfoResponseType, nil},
	{deletePrefix + "*", server.JSApiConsumerDeleteResponseType, nil}, // ordered consumers delete their predecessors
	{createPrefix + ">", server.JSApiConsumerCreateResponseType, narrowCreate},
}

// gate passes consumers' requests on to JetStream's API. It has two tasks.
//
// It checks what no permission can check, because it is in the body: what a
// consumer is created with, and how much a request makes the server do.
//
// It keeps one consumer's requests from delaying the others'. The server works
// on requests with one goroutine for each processor, and drops all that wait when
// they are too many. So the gate asks one request of each consumer at a time, and
// refuses what comes when too many wait.
type gate struct {
	js  jetstream.JetStream
	log *slog.Logger

	mu     sync.Mutex
	queues map[string]chan<- *natsgo.Msg // by consumer
	closed bool
}

func openGate(c *Conn, log *slog.Logger) (*gate, error) {
	g := &gate{js: c.js, log: log, queues: map[string]chan<- *natsgo.Msg{}}
	if _, err := c.nc.Subscribe(asked+"*.>", g.enqueue); err != nil {
		return nil, err
	}
	return g, c.nc.FlushTimeout(gateTimeout) // the server knows of it before any consumer connects
}

// close ends the goroutines of the gate, when no request comes any more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, queue := range g.queues {
		close(queue)
	}
}

// enqueue puts a request at the end of its consumer's queue. It never waits:
// the requests of all consumers come through it, one after the other.
func (g *gate) enqueue(m *natsgo.Msg) {
	if m.Reply == "" {
		return
	}
	asker, rest, _ := strings.Cut(strings.TrimPrefix(m.Subject, asked), ".")
	if len(m.Data) > maxRequest {
		g.refuse(m, rest, fmt.Errorf("a request must not be longer than %d bytes", maxRequest))
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	queue, ok := g.queues[asker]
	if !ok {
		waiting := make(chan *natsgo.Msg, maxQueued)
		queue, g.queues[asker] = waiting, waiting
		go g.serve(asker, waiting)
	}
	select {
	case queue <- m:
	default:
		g.refuse(m, rest, &server.ApiError{
			Code: 503, ErrCode: uint16(server.JSInsufficientResourcesErr), Description: fmt.Sprintf("%d requests of this consumer wait already", maxQueued),
		})
	}
}

// serve answers the requests of one consumer, one after the other.
func (g *gate) serve(asker string, queue <-chan *natsgo.Msg) {
	ephemerals := map[string]struct{}{} // that this consumer created
	for m := range queue {
		rest := strings.TrimPrefix(m.Subject, asked+asker+".")
		answer, err := g.ask(asker, rest, m, ephemerals)
		if err != nil {
			g.refuse(m, rest, err)
		} else if err := m.Respond(answer); err != nil {
			g.refuse(m, rest, fmt.Errorf("the answer cannot be sent: %w", err))
		}
	}
}

// ask returns JetStream's answer to a request, or why it is not asked.
func (g *gate) ask(asker, rest string, m *natsgo.Msg, ephemerals map[string]struct{}) ([]byte, error) {
	passed := &natsgo.Msg{Subject: apiPrefix + rest, Header: natsgo.Header{}}
	if level := m.Header.Get(server.JSRequiredApiLevel); level != "" {
		passed.Header.Set(server.JSRequiredApiLevel, level[:min(len(level), 8)])
	}
	var created *server.CreateConsumerRequest
	if narrow := requestOf(rest).narrow; narrow != nil {
		narrowed, err := narrow(asker, m.Data)
		if err != nil {
			return nil, err
		}
		if passed.Data, err = json.Marshal(narrowed); err != nil {
			return nil, err
		}
		created, _ = narrowed.(*server.CreateConsumerRequest)
	}
	ephemeral := created != nil && created.Config.Durable == ""
	switch {
	case ephemeral:
		if err := g.admit(created.Config.Name, ephemerals); err != nil {
			return nil, err
		}
	case created != nil:
		g.evict(asker)
	}
	answer, err := g.js.Conn().RequestMsg(passed, gateTimeout)
	if err != nil {
		g.log.Error("cannot answer a NATS consumer's request", "consumer", asker, "request", passed.Subject, "error", err)
		return nil, &server.ApiError{Code: 503, ErrCode: uint16(server.JSInsufficientResourcesErr), Description: "JetStream does not answer"}
	}
	if ephemeral {
		var made server.JSApiConsumerCreateResponse
		if json.Unmarshal(answer.Data, &made) == nil && made.ConsumerInfo != nil {
			ephemerals[made.Name] = struct{}{}
		}
	}
	if name, deletes := strings.CutPrefix(rest, deletePrefix); deletes {
		delete(ephemerals, name)
	}
	return answer.Data, nil
}

// admit returns an error when a consumer has as many ephemeral consumers as it may
// have. It removes those from the set that are gone.
func (g *gate) admit(name string, ephemerals map[string]struct{}) error {
	if _, again := ephemerals[name]; again || len(ephemerals) < maxEphemerals {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), gateTimeout)
	defer cancel()
	stream, err := g.js.Stream(ctx, streamName)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	names := stream.ConsumerNames(ctx)
	for name := range names.Name() {
		there[name] = true
	}
	if err := names.Err(); err != nil {
		return err
	}
	maps.DeleteFunc(ephemerals, func(name string, _ struct{}) bool { return !there[name] })
	if len(ephemerals) < maxEphemerals {
		return nil
	}
	return &server.ApiError{
		Code: 400, ErrCode: uint16(server.JSMaximumConsumersLimitErr),
		Description: fmt.Sprintf("there are %d ephemeral consumers of this consumer already: delete those that are not used", maxEphemerals),
	}
}

// evict removes an ephemeral consumer that sits on the name of a durable, where
// somebody may have put it before the name had a key.
func (g *gate) evict(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), gateTimeout)
	defer cancel()
	sits, err := g.js.Consumer(ctx, streamName, name)
	if err != nil || sits.CachedInfo().Config.Durable != "" {
		return // what else is wrong, the creation's own answer says
	}
	if err := g.js.DeleteConsumer(ctx, streamName, name); err != nil {
		g.log.Warn("cannot remove what bears a consumer's name", "consumer", name, "error", err)
	}
}

func requestOf(rest string) apiRequest {
	for _, r := range apiRequests {
		if fixed := strings.TrimRight(r.subject, "*>"); rest == r.subject || fixed != r.subject && strings.HasPrefix(rest, fixed) {
			return r
		}
	}
	return apiRequest{answer: server.JSApiSystemResponseType}
}

// refuse answers with an error as JetStream's API would.
func (g *gate) refuse(m *natsgo.Msg, rest string, reason error) {
	var refused *server.ApiError
	if !errors.As(reason, &refused) {
		refused = &server.ApiError{Code: 403, ErrCode: uint16(server.JSBadRequestErr), Description: reason.Error()}
		if strings.HasPrefix(rest, createPrefix) {
			refused.ErrCode = uint16(server.JSConsumerCreateErrF)
		}
	}
	if len(refused.Description) > maxText { // the decoder repeats what it was given
		refused.Description = strings.ToValidUTF8(refused.Description[:maxText], "")
	}
	answer, err := json.Marshal(&server.ApiResponse{Type: requestOf(rest).answer, Error: refused})
	if err == nil {
		err = m.Respond(answer)
	}
	if err != nil && !g.js.Conn().IsDraining() && !g.js.Conn().IsClosed() {
		g.log.Error("cannot refuse a NATS consumer's request", "error", err)
	}
}
