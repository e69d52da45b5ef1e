package nats

import (
	"context"
	"encoding/json" // the server decodes with it: what is checked must be what it will see
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxIdle is how long an ephemeral consumer may stay without being used.
	maxIdle = time.Hour

	// maxConsumers bounds the consumers on the stream, whose files and memory
	// any key could fill otherwise.
	maxConsumers = 1000

	// gateTimeout bounds what the gate asks of the server in its own process.
	gateTimeout = 5 * time.Second
)

// gate passes requests to create a consumer on to JetStream, when they are for
// one that a key may have. What makes the difference is in the request's body,
// where no permission reaches.
type gate struct {
	js  jetstream.JetStream
	log *slog.Logger
}

func openGate(c *Conn, log *slog.Logger) error {
	g := &gate{js: c.js, log: log}
	if _, err := c.nc.Subscribe(creations+"*.>", g.create); err != nil {
		return err
	}
	return c.nc.FlushTimeout(gateTimeout) // the server knows of it before any consumer connects
}

// create answers one request.
func (g *gate) create(m *natsgo.Msg) {
	if m.Reply == "" {
		return
	}
	asker, rest, _ := strings.Cut(strings.TrimPrefix(m.Subject, creations), ".")
	answer, err := g.pass(asker, rest, m)
	if err == nil {
		err = m.Respond(answer)
	}
	if err != nil {
		g.log.Error("cannot answer who creates a NATS consumer", "consumer", asker, "error", err)
	}
}

// pass returns JetStream's answer to a request, or a refusal.
func (g *gate) pass(asker, rest string, m *natsgo.Msg) ([]byte, error) {
	var req server.CreateConsumerRequest
	if err := json.Unmarshal(m.Data, &req); err != nil {
		return refusal(err)
	}
	if err := allowed(asker, &req.Config); err != nil {
		return refusal(err)
	}
	if req.Config.Durable != "" {
		g.evict(req.Config.Durable)
	}
	// Encoded anew, so that nothing which the check did not see goes with it.
	data, err := json.Marshal(&req)
	if err != nil {
		return nil, err
	}
	asked := &natsgo.Msg{Subject: "$JS.API.CONSUMER.CREATE.KONTO." + rest, Data: data, Header: natsgo.Header{}}
	if level := m.Header.Get(server.JSRequiredApiLevel); level != "" {
		asked.Header.Set(server.JSRequiredApiLevel, level)
	}
	answer, err := g.js.Conn().RequestMsg(asked, gateTimeout)
	if err != nil {
		return nil, err
	}
	return answer.Data, nil
}

// allowed tells why a consumer's key may not have such a consumer on the stream.
func allowed(asker string, cfg *server.ConsumerConfig) error {
	switch {
	case cfg.DeliverSubject != "" || cfg.DeliverGroup != "":
		// Its messages go to a subject of konto's account, among them those of
		// JetStream itself.
		return errors.New("push consumers are not offered: pull, or subscribe to konto.account.>")
	case cfg.Direct || cfg.Sourcing:
		return errors.New("consumers of mirrors and sources are not offered") // no limit counts them
	case cfg.Durable != "" && cfg.Durable != asker:
		return errors.New("a durable consumer must be called " + asker)
	case cfg.Durable == "" && cfg.InactiveThreshold > maxIdle:
		return errors.New("an ephemeral consumer's inactive_threshold must not exceed " + maxIdle.String())
	}
	return nil
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

func refusal(reason error) ([]byte, error) {
	return json.Marshal(&server.JSApiConsumerCreateResponse{ApiResponse: server.ApiResponse{
		Type:  server.JSApiConsumerCreateResponseType,
		Error: &server.ApiError{Code: 403, ErrCode: uint16(server.JSConsumerCreateErrF), Description: reason.Error()},
	}})
}
