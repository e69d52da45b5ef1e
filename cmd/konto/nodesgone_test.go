//go:build servers

package main

import (
	"strings"
	"testing"
	"time"

	"konto/eventstore/postgres/postgrestest"
)

// A node that the others have given up ends: it may have in memory what was erased since.
func TestNodeThatWasGivenUpEnds(t *testing.T) {
	primary := postgrestest.Primary(t)
	primary.Standby(t, "standby")
	n := newNodes(t, primary.URL())
	a := n.start(t, "a")
	ended := make(chan error, 1)
	go func() { ended <- a.cmd.Wait() }()
	primary.ExecIn(t, n.store, "DELETE FROM cluster.node")
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(a.stderr.String(), "no longer reckon") {
			t.Errorf("ended with %v: %s", err, a.stderr)
		}
	case <-time.After(patience):
		t.Fatalf("does not end: %s", a.stderr)
	}
}
