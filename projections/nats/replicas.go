package nats

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"

	"github.com/nats-io/nats.go/jetstream"
)

// replicas is how many servers of a cluster hold each stream. With three, one may be lost.
const replicas = 3

// The server's reasons not to give a stream as many replicas as it was asked for.
const (
	errNotClustered jetstream.ErrorCode = 10074
	errNoPeers      jetstream.ErrorCode = 10005
)

// createStream makes a stream with three replicas if the server is one of a cluster of three or more,
// with one otherwise. It asks the server, which knows, and not the configuration.
func (c *Conn) createStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	if c.embedded {
		return c.js.CreateStream(ctx, cfg)
	}
	cfg.Replicas = replicas
	stream, err := c.js.CreateStream(ctx, cfg)
	if c.hasTooFewServers(err) {
		cfg.Replicas = 1
		return c.js.CreateStream(ctx, cfg)
	}
	return stream, err
}

// changeStream gives a stream the configuration want, and three replicas if it has one and there are
// three servers. If the server refuses only the replicas, left says so: the stream is as good as before.
func (c *Conn) changeStream(ctx context.Context, stream jetstream.Stream, want jetstream.StreamConfig) (_ jetstream.Stream, left []string, err error) {
	if !c.embedded && want.Replicas <= 1 {
		raised := want
		raised.Replicas = replicas
		changed, err := c.js.UpdateStream(ctx, raised)
		var refused *jetstream.APIError
		if !errors.As(err, &refused) {
			return changed, nil, err
		}
		if !c.hasTooFewServers(err) {
			left = []string{fmt.Sprintf("num_replicas (1), because the server refuses %d: %s", replicas, refused.Description)}
		}
	}
	if !reflect.DeepEqual(stream.CachedInfo().Config, want) {
		stream, err = c.js.UpdateStream(ctx, want)
	}
	return stream, left, err
}

// hasTooFewServers reports whether an error says that there are not enough servers for the replicas.
//
// A cluster that begins says so too, as long as one of its servers was never there. Then konto waits:
// it knows how many servers there are from its own URL, and from the servers that it is told of.
func (c *Conn) hasTooFewServers(err error) bool {
	var refused *jetstream.APIError
	if !errors.As(err, &refused) {
		return false
	}
	return refused.ErrorCode == errNotClustered || refused.ErrorCode == errNoPeers && c.servers() < replicas
}

// servers returns how many servers there are in the cluster, as far as konto knows. A server's name
// in konto's URL and the address that the cluster tells of are not the same text, so they are counted
// apart.
func (c *Conn) servers() int {
	told := c.nc.DiscoveredServers()
	given := len(c.nc.Servers()) - len(told)
	cluster := map[string]bool{c.nc.ConnectedAddr(): true} // it is not told of if konto's URL has its address
	for _, server := range told {
		if u, err := url.Parse(server); err == nil {
			cluster[u.Host] = true
		}
	}
	return max(given, len(cluster))
}
