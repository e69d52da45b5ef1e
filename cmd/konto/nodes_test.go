//go:build servers

package main

import (
	"cmp"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"konto/projections/natstest"
)

// nodes are processes of konto that share a log in Postgres and a NATS cluster.
type nodes struct {
	store  string // URL
	nats   *natstest.Cluster
	master string // KONTO_MASTER_KEY
	smtp   string // URL
	folder string // for administrative commands
	drain  bool   // nodes that are stopped answer on for a while, as they do without --drain
}

// newNodes starts a NATS cluster for nodes, of which none runs yet.
func newNodes(t *testing.T, store string) *nodes {
	t.Helper()
	n := &nodes{store: store, master: cmp.Or(os.Getenv("KONTO_MASTER_KEY"), newMaster()), smtp: "smtp://127.0.0.1:9", folder: t.TempDir()}
	t.Setenv("KONTO_MASTER_KEY", n.master)
	t.Setenv("KONTO_STORE", n.store)
	issuer := n.must(t, "nats", "issuer")["issuer"].(string)
	n.nats = natstest.Start(t, map[string]string{"KONTO_NATS_ISSUER": issuer})
	return n
}

// node is one process.
type node struct {
	*process
	of     *nodes
	name   string
	folder string
	http   string // its address, which it keeps when it is started again
	extra  []string
}

// start starts a node and waits until it is ready.
func (n *nodes) start(t testing.TB, name string, flags ...string) *node {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	started := &node{of: n, name: name, folder: filepath.Join(t.TempDir(), name), http: address, extra: flags}
	started.again(t)
	t.Cleanup(func() { started.kill() })
	return started
}

// again starts the node's process, for the first time or after it ended.
func (n *node) again(t testing.TB) {
	t.Helper()
	n.launch(t)
	n.url = n.stderr.find(t, readyLine)[1]
}

// launch is again without waiting.
func (n *node) launch(t testing.TB) {
	t.Helper()
	args := append([]string{"serve", "--data", n.folder, "--http", n.http, "--node", n.name,
		"--smtp-url", n.of.smtp, "--rate-limit", "off", "--third-party-allow", "127.0.0.0/8"}, n.extra...)
	if !n.of.drain {
		args = append(args, "--drain", "0s")
	}
	n.process = &process{stderr: newWatched()}
	n.cmd = exec.Command(binary(t), args...)
	n.cmd.Env = append(os.Environ(), "KONTO_MASTER_KEY="+n.of.master, "KONTO_STORE="+n.of.store, "KONTO_NATS_URL="+n.of.nats.URL("konto:konto@"))
	n.cmd.Stderr = n.stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// address is its URL, whether it runs or not.
func (n *node) address() string { return "http://" + n.http }

// stop stops the node in order.
func (n *node) stop(t testing.TB) {
	t.Helper()
	n.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- n.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("node %s: %v\n%s", n.name, err, n.stderr)
		}
	case <-time.After(patience):
		t.Fatalf("node %s does not stop\n%s", n.name, n.stderr)
	}
}

// pause stops the node's process from running for a time, as a machine that hangs does.
func (n *node) pause(d time.Duration) {
	n.cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(d)
	n.cmd.Process.Signal(syscall.SIGCONT)
}

// must runs an administrative command as on a machine that runs no node.
func (n *nodes) must(t testing.TB, args ...string) map[string]any {
	t.Helper()
	return object(t, strings.TrimSpace(must(t, append(args, "--json", "--data", n.folder)...)))
}
