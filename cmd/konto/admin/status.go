package admin

import (
	"context"
	"time"

	"konto/projections"
)

// Status is what konto does now.
type Status struct {
	Version    string                  `json:"version"`
	Head       uint64                  `json:"head"` // the log's last position
	Followers  []projections.Status    `json:"followers"`
	Components []projections.Component `json:"components"`
	Nodes      []Node                  `json:"nodes,omitzero"` // that share the log
}

// Node is one of the nodes that share a log in Postgres.
type Node struct {
	Name     string   `json:"name"`
	Address  string   `json:"address"`
	Version  string   `json:"version"`
	Position uint64   `json:"position"`
	Behind   uint64   `json:"behind"` // events
	Live     bool     `json:"live"`
	Seconds  float64  `json:"seconds"` // since it was last seen
	Leases   []string `json:"leases"`
}

// Age is how long ago the node was last seen.
func (n Node) Age() time.Duration { return time.Duration(n.Seconds * float64(time.Second)) }

// Status returns what the server does now. Without a server, it knows of the log alone.
func (k *Konto) Status(ctx context.Context) (Status, error) {
	s := Status{Version: k.Version, Followers: []projections.Status{}, Components: []projections.Component{}}
	if k.Server != nil { // before the head, so that none can be beyond it
		s.Followers, s.Components = k.Server.Health(), k.Server.Components()
	}
	var err error
	if s.Head, err = k.Store.Head(ctx); err != nil || k.DB == nil {
		return s, err
	}
	s.Nodes, err = k.ListNodes(ctx)
	return s, err
}

// ListNodes returns the nodes that share the log, which must be in Postgres.
func (k *Konto) ListNodes(ctx context.Context) ([]Node, error) {
	found, err := k.DB.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	head, err := k.Store.Head(ctx)
	nodes := make([]Node, len(found))
	for i, n := range found {
		nodes[i] = Node{n.Name, n.Address, n.Version, n.Position, max(head, n.Position) - n.Position, n.Live, n.Age.Seconds(), n.Leases}
	}
	return nodes, err
}
