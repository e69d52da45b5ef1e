package natsserver

import (
	"context"
	"encoding/json" // the server's own decoder: it must see what the gate checked
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
)

const (
	// maxRequest bounds the body of a request, in bytes. To decode a longer one would need more than
	// about 100 µs.
	maxRequest = 16 << 10

	// maxQueued bounds the requests of one consumer that wait.
	maxQueued = 128

	// maxEphemerals bounds the ephemeral consumers of one consumer's keys.
	maxEphemerals = 50

	// gateTimeout bounds each request of the gate to the server in its own process, and the drain of
	// its connection.
	gateTimeout = 5 * time.Second
)

const (
	apiPrefix    = "$JS.API."
	createPrefix = "CONSUMER.CREATE.KONTO."
	infoPrefix   = "CONSUMER.INFO.KONTO."
	deletePrefix = "CONSUMER.DELETE.KONTO."

	// The gate itself answers these two, because JetStream's answers name all consumers.
	namesRequest = "CONSUMER.NAMES.KONTO"
	listRequest  = "CONSUMER.LIST.KONTO"
)

// apiRequest is a kind of request to JetStream's API that consumers may send.
type apiRequest struct {
	subject string // after apiPrefix
	answer  string // the type of JetStream's answer
	// check decodes the body of a request and says why JetStream does not get it. What it returns is
	// encoded again, so that JetStream gets only what was checked. nil: JetStream needs no body and
	// gets none.
	check func(asker string, body []byte) (any, error)
}

// apiRequests are all requests to JetStream's API that consumers may send, except pulls. The pulled
// consumer reads a pull itself, so that it never waits with other requests.
var apiRequests = []apiRequest{
	{"INFO", server.JSApiAccountInfoResponseType, nil},
	{"STREAM.NAMES", server.JSApiStreamNamesResponseType, checkNames},
	{"STREAM.LIST", server.JSApiStreamListResponseType, checkList},
	{"STREAM.INFO.KONTO", server.JSApiStreamInfoResponseType, checkStreamInfo},
	{"STREAM.MSG.GET.KONTO", server.JSApiMsgGetResponseType, checkMessageGet},
	{namesRequest, server.JSApiConsumerNamesResponseType, nil},
	{listRequest, server.JSApiConsumerListResponseType, nil},
	{infoPrefix + "*", server.JSApiConsumerInfoResponseType, nil},
	{deletePrefix + "*", server.JSApiConsumerDeleteResponseType, nil}, // an ordered consumer deletes the one before it
	{createPrefix + ">", server.JSApiConsumerCreateResponseType, checkCreate},
}

func requestOf(subject string) apiRequest {
	for _, r := range apiRequests {
		if fixed := strings.TrimRight(r.subject, "*>"); subject == r.subject || fixed != r.subject && strings.HasPrefix(subject, fixed) {
			return r
		}
	}
	return apiRequest{answer: server.JSApiSystemResponseType}
}

// gate passes consumers' requests on to JetStream's API. It has two tasks.
//
// It checks what no permission can check, because it is in the body: how a consumer is configured, and
// how much work a request causes.
//
// It keeps one consumer's requests from delaying the others'. The server works on requests with one
// goroutine for each processor, and drops all requests that wait when they are too many. So the gate
// passes on one request of each consumer at a time, and refuses more when too many wait.
type gate struct {
	nc     *natsgo.Conn
	js     jetstream.JetStream
	log    *slog.Logger
	closed chan struct{} // when nc is

	mu     sync.Mutex
	queues map[string]chan<- *natsgo.Msg // by consumer
	ended  bool
}

// openGate connects with options and begins to pass requests on.
func openGate(log *slog.Logger, options []natsgo.Option) (*gate, error) {
	g := &gate{log: log, closed: make(chan struct{}), queues: map[string]chan<- *natsgo.Msg{}}
	nc, err := natsgo.Connect("", append([]natsgo.Option{
		natsgo.Name("konto"), natsgo.MaxReconnects(-1), natsgo.ReconnectBufSize(-1), natsgo.DrainTimeout(gateTimeout),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(g.closed) }),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { log.Warn("NATS", "error", err) }),
	}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	g.nc = nc
	if g.js, err = jetstream.New(nc); err == nil {
		_, err = nc.Subscribe(gatePrefix+"*.>", g.enqueue)
	}
	if err == nil {
		err = nc.FlushTimeout(gateTimeout) // the server has the subscription before any consumer connects
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return g, nil
}

// close handles the requests that were received, and ends the gate's goroutines.
func (g *gate) close() {
	if err := g.nc.Drain(); err != nil {
		g.nc.Close()
	}
	<-g.closed
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	for _, queue := range g.queues {
		close(queue)
	}
}

// enqueue puts a request at the end of its consumer's queue. It never blocks, because it receives the
// requests of all consumers, one after the other.
func (g *gate) enqueue(m *natsgo.Msg) {
	if m.Reply == "" {
		return
	}
	asker, request, _ := strings.Cut(strings.TrimPrefix(m.Subject, gatePrefix), ".")
	if len(m.Data) > maxRequest {
		g.refuse(m, request, fmt.Errorf("a request must not be longer than %d bytes", maxRequest))
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
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
		g.refuse(m, request, &server.ApiError{
			Code: 503, ErrCode: uint16(server.JSInsufficientResourcesErr), Description: fmt.Sprintf("%d requests of this consumer wait already", maxQueued),
		})
	}
}

// serve answers the requests of one consumer, one after the other.
func (g *gate) serve(asker string, queue <-chan *natsgo.Msg) {
	ephemerals := map[string]struct{}{} // that this consumer created
	for m := range queue {
		request := strings.TrimPrefix(m.Subject, gatePrefix+asker+".")
		answer, err := g.ask(asker, request, m, ephemerals)
		if err != nil {
			g.refuse(m, request, err)
		} else if err := m.Respond(answer); err != nil {
			g.refuse(m, request, fmt.Errorf("the answer cannot be sent: %w", err))
		}
	}
}

// ask returns JetStream's answer to a request, or says why JetStream does not get it.
func (g *gate) ask(asker, request string, m *natsgo.Msg, ephemerals map[string]struct{}) ([]byte, error) {
	if request == namesRequest || request == listRequest {
		return g.list(asker, request, ephemerals)
	}
	passed := &natsgo.Msg{Subject: apiPrefix + request, Header: natsgo.Header{}}
	if level := m.Header.Get(server.JSRequiredApiLevel); level != "" {
		passed.Header.Set(server.JSRequiredApiLevel, level[:min(len(level), 8)])
	}
	var creation *server.CreateConsumerRequest
	if check := requestOf(request).check; check != nil {
		checked, err := check(asker, m.Data)
		if err != nil {
			return nil, err
		}
		if passed.Data, err = json.Marshal(checked); err != nil {
			return nil, err
		}
		creation, _ = checked.(*server.CreateConsumerRequest)
	}
	ephemeral := creation != nil && creation.Config.Durable == ""
	switch {
	case ephemeral:
		if err := g.admit(creation.Config.Name, ephemerals); err != nil {
			return nil, err
		}
	case creation != nil:
		g.freeName(asker)
	}
	answer, err := g.request(asker, passed)
	if err != nil {
		return nil, err
	}
	if ephemeral {
		var made server.JSApiConsumerCreateResponse
		if json.Unmarshal(answer.Data, &made) == nil && made.ConsumerInfo != nil {
			ephemerals[made.Name] = struct{}{}
		}
	}
	if name, deletes := strings.CutPrefix(request, deletePrefix); deletes {
		delete(ephemerals, name)
	}
	return answer.Data, nil
}

// request returns JetStream's answer to a request that was checked.
func (g *gate) request(asker string, m *natsgo.Msg) (*natsgo.Msg, error) {
	answer, err := g.nc.RequestMsg(m, gateTimeout)
	if err != nil {
		g.log.Error("cannot answer a NATS consumer's request", "consumer", asker, "request", m.Subject, "error", err)
		return nil, &server.ApiError{Code: 503, ErrCode: uint16(server.JSInsufficientResourcesErr), Description: "JetStream does not answer"}
	}
	return answer, nil
}

// list answers with the asker's own consumers: its durable, and the ephemerals that it created since
// konto was started. There are few, so the answer is always one page.
func (g *gate) list(asker, request string, ephemerals map[string]struct{}) ([]byte, error) {
	names, infos := []string{}, []*server.ConsumerInfo{}
	for _, name := range append(slices.Sorted(maps.Keys(ephemerals)), asker) {
		answer, err := g.request(asker, natsgo.NewMsg(apiPrefix+infoPrefix+name))
		if err != nil {
			return nil, err
		}
		var found server.JSApiConsumerInfoResponse
		if err := json.Unmarshal(answer.Data, &found); err != nil {
			return nil, err
		}
		if found.ConsumerInfo != nil && (name != asker || found.Config.Durable == asker) {
			names, infos = append(names, name), append(infos, found.ConsumerInfo)
		}
	}
	as := server.ApiResponse{Type: requestOf(request).answer}
	page := server.ApiPaged{Total: len(names), Limit: server.JSApiNamesLimit}
	if request == namesRequest {
		return json.Marshal(&server.JSApiConsumerNamesResponse{ApiResponse: as, ApiPaged: page, Consumers: names})
	}
	return json.Marshal(&server.JSApiConsumerListResponse{ApiResponse: as, ApiPaged: page, Consumers: infos})
}

// admit returns an error if a consumer has as many ephemeral consumers as it may have. When the set is
// full, admit first removes those from it that no longer exist.
func (g *gate) admit(name string, ephemerals map[string]struct{}) error {
	if _, again := ephemerals[name]; again || len(ephemerals) < maxEphemerals {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), gateTimeout)
	defer cancel()
	stream, err := g.js.Stream(ctx, subjects.Stream)
	if err != nil {
		return err
	}
	exists := map[string]bool{}
	names := stream.ConsumerNames(ctx)
	for name := range names.Name() {
		exists[name] = true
	}
	if err := names.Err(); err != nil {
		return err
	}
	maps.DeleteFunc(ephemerals, func(name string, _ struct{}) bool { return !exists[name] })
	if len(ephemerals) < maxEphemerals {
		return nil
	}
	return &server.ApiError{
		Code: 400, ErrCode: uint16(server.JSMaximumConsumersLimitErr),
		Description: fmt.Sprintf("there are %d ephemeral consumers of this consumer already: delete those that are not used", maxEphemerals),
	}
}

// freeName deletes an ephemeral consumer with the name of a durable that is about to be created.
// Another consumer may have created it before the name had a key.
func (g *gate) freeName(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), gateTimeout)
	defer cancel()
	other, err := g.js.Consumer(ctx, subjects.Stream, name)
	if err != nil || other.CachedInfo().Config.Durable != "" {
		return // if anything else is wrong, the answer to the creation says so
	}
	if err := g.js.DeleteConsumer(ctx, subjects.Stream, name); err != nil {
		g.log.Warn("cannot remove what bears a consumer's name", "consumer", name, "error", err)
	}
}

// refuse answers a request with an error in the form of JetStream's API.
func (g *gate) refuse(m *natsgo.Msg, request string, reason error) {
	var refused *server.ApiError
	if !errors.As(reason, &refused) {
		refused = &server.ApiError{Code: 403, ErrCode: uint16(server.JSBadRequestErr), Description: reason.Error()}
		if strings.HasPrefix(request, createPrefix) {
			refused.ErrCode = uint16(server.JSConsumerCreateErrF)
		}
	}
	if len(refused.Description) > maxText { // the decoder's error may repeat its input
		refused.Description = strings.ToValidUTF8(refused.Description[:maxText], "")
	}
	answer, err := json.Marshal(&server.ApiResponse{Type: requestOf(request).answer, Error: refused})
	if err == nil {
		err = m.Respond(answer)
	}
	if err != nil && !g.nc.IsDraining() && !g.nc.IsClosed() {
		g.log.Error("cannot refuse a NATS consumer's request", "error", err)
	}
}
