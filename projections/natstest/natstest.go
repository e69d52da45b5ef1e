// Package natstest starts real nats-server processes as a cluster, for tests. The server is built
// from the module that konto embeds.
package natstest

import (
	"bytes"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Config is the configuration of an operator's cluster of three servers, nats-1 to nats-3, in the form
// that it has in a compose file. Consumers and senders log in by auth callout.
//
//go:embed testdata/cluster.conf
var Config string

// NoIssuer is a KONTO_NATS_ISSUER for tests without auth callout, and the default. Nobody knows its seed.
const NoIssuer = "ABE4YROBIH6BGR3YRXPY4AFT6IXOIURJQWNXOPOXW5MHZW4CQ423UDQG"

// patience is how long a server may take to start or stop. To reach it is a failure.
const patience = time.Minute

// Cluster is three servers, which may run or not.
type Cluster struct{ Servers []*Server }

// Server is one nats-server process of a cluster.
type Server struct {
	Name string
	Port int // where clients connect

	program, config string
	monitor         int
	process         *exec.Cmd
	log             bytes.Buffer
}

// New makes a cluster of three servers, none of which runs yet. Of the variables in config, those in
// variables are set. The servers are stopped when the test ends.
func New(t testing.TB, config string, variables map[string]string) *Cluster {
	t.Helper()
	program := filepath.Join(t.TempDir(), "nats-server")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	config = variable.ReplaceAllStringFunc(config, func(found string) string {
		parts := variable.FindStringSubmatch(found)
		if value, ok := variables[parts[1]]; ok {
			return value
		}
		if parts[2] == "?" {
			t.Fatalf("%s is required", parts[1])
		}
		return parts[3]
	})
	config = strings.ReplaceAll(config, "$$", "$")
	ports := freePorts(t, 9)
	c := &Cluster{}
	var routes []string // replaces the names of the servers
	for i := range 3 {
		c.Servers = append(c.Servers, &Server{
			Name: fmt.Sprintf("nats-%d", i+1), Port: ports[3*i], monitor: ports[3*i+2], program: program,
		})
		routes = append(routes, fmt.Sprintf("nats-%d:6222", i+1), address(ports[3*i+1]))
	}
	for i, s := range c.Servers {
		dir := t.TempDir()
		text := strings.NewReplacer(append(routes,
			"0.0.0.0:4222", address(s.Port), "0.0.0.0:6222", address(ports[3*i+1]), "/data", dir)...).Replace(config)
		s.config = filepath.Join(dir, "nats.conf")
		if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, s := range c.Servers {
			s.Kill(t)
			if t.Failed() {
				t.Logf("%s:\n%s", s.Name, tail(s.log.String()))
			}
		}
	})
	return c
}

// Start starts a cluster with Config and returns when it has a leader.
func Start(t testing.TB, variables map[string]string) *Cluster {
	t.Helper()
	c := New(t, Config, variables)
	for _, s := range c.Servers {
		s.Start(t)
	}
	for _, s := range c.Servers {
		s.Ready(t)
	}
	return c
}

// variable is one of a compose file, with a default or required.
var variable = regexp.MustCompile(`\$\{(\w+):([-?])([^}]*)\}`)

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// URL lists all servers, as konto's --nats-url does. user is "user:password@" or "".
func (c *Cluster) URL(user string) string {
	var all []string
	for _, s := range c.Servers {
		all = append(all, s.URL(user))
	}
	return strings.Join(all, ",")
}

// Named returns the server of that name.
func (c *Cluster) Named(t testing.TB, name string) *Server {
	t.Helper()
	for _, s := range c.Servers {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no server is named %q", name)
	return nil
}

// URL is where clients connect to the server. user is "user:password@" or "".
func (s *Server) URL(user string) string { return "nats://" + user + address(s.Port) }

// Folder returns the folder of the server's configuration and its files.
func (s *Server) Folder() string { return filepath.Dir(s.config) }

// Start starts the server, again after a Kill. It does not wait.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.process = exec.Command(s.program, "--config", s.config, "--name", s.Name, "--http_port", strconv.Itoa(s.monitor))
	s.process.Stderr = &s.log
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
}

// Ready waits until the server says that it is healthy: it listens, and its JetStream is up to date
// with a leader.
func (s *Server) Ready(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		answer, err := http.Get("http://" + address(s.monitor) + "/healthz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not ready", s.Name)
		}
		time.Sleep(200 * time.Millisecond) // only the server knows
	}
}

// Kill ends the server at once, as a crash does. Nothing happens if it does not run.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.process == nil {
		return
	}
	s.process.Process.Kill()
	s.process.Wait()
	s.process = nil
}

// freePorts returns ports that nobody listens on.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // only now, so that all are different
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func tail(text string) string {
	const most = 3000
	return text[max(0, len(text)-most):]
}
