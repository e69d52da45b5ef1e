package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"konto/cmd/konto/control"
	"konto/projections/natscallout"
)

type nodesCommand struct{}

func (c *nodesCommand) Help() string {
	return `Lists the nodes that share the log: name, address, version, position and how far it is behind the
log, and what the node does for all. A node that was killed is listed until another one takes its
name, or until an erasure no longer waits for it, after a minute.

Example:

    konto nodes --store postgres://konto@pg1,pg2/konto`
}

func (c *nodesCommand) Run(ctx context.Context, on *opened, out *control.Output) error {
	if on.DB == nil {
		return errors.New("the log is in the data folder, so there is one node; nodes share a log with --store")
	}
	nodes, err := on.ListNodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		state := "live"
		if !n.Live {
			state = "not seen for " + n.Age().Round(time.Second).String()
		}
		if err := out.Row(n, "%s  %s  %s  position %d, %d behind  %s  %s",
			n.Name, n.Address, n.Version, n.Position, n.Behind, state, strings.Join(n.Leases, " ")); err != nil {
			return err
		}
	}
	return nil
}

type natsIssuer struct{}

func (c *natsIssuer) Help() string {
	return `Prints the public key by which the NATS servers of a cluster know konto's answers: the issuer of
auth_callout in their configuration. With it, konto's keys for consumers and senders count there.
It stays the same for as long as the keys of konto exist.

Example:

    konto nats issuer --store postgres://konto@pg1,pg2/konto`
}

func (c *natsIssuer) Run(_ context.Context, on *opened, out *control.Output) error {
	key, err := natscallout.PublicKey(on.Keys.Derive(natscallout.Purpose))
	if err != nil {
		return err
	}
	return out.Row(struct {
		Issuer string `json:"issuer"`
	}{key}, "%s", key)
}
