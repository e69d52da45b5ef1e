// Package postgrestest starts real Postgres servers for tests: a primary and, if asked for, a
// synchronous standby, or a cluster whose primary Patroni chooses. A test that needs them fails where
// Postgres, Patroni or etcd is not installed.
package postgrestest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is one Postgres server.
type Server struct {
	Name string
	Port int
	dir  string
}

// databases counts those that Database made.
var databases atomic.Int64

// settings of every server. fsync stays on, as konto demands it.
const settings = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 64MB
max_connections = 400
wal_level = replica
hot_standby = on
max_wal_senders = 10
wal_keep_size = 256MB
log_min_messages = warning
`

// Primary starts an empty server. It is stopped when the test ends.
func Primary(t testing.TB) *Server {
	t.Helper()
	s := newServer(t, "primary")
	run(t, "initdb", "-D", s.dir, "-U", "konto", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	s.configure(t, settings)
	s.Start(t)
	return s
}

// Standby starts a server that follows s through a proxy, and makes s wait for one of its standbys
// with every commit.
func (s *Server) Standby(t testing.TB, name string) (*Server, *Proxy) {
	t.Helper()
	standby, proxy := newServer(t, name), NewProxy(t, s.Port)
	run(t, "pg_basebackup", "-D", standby.dir, "-d", conninfo(s.Port), "-R", "-X", "stream", "-c", "fast", "--no-sync")
	standby.configure(t, fmt.Sprintf("port = %d\n", standby.Port))
	standby.follow(t, proxy.Port)
	standby.Start(t)
	s.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
	s.Exec(t, "SELECT pg_reload_conf()")
	s.Await(t, s.URL(), "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'quorum'")
	return standby, proxy
}

// Follow makes a standby follow another primary.
func (s *Server) Follow(t testing.TB, primary *Server) {
	t.Helper()
	s.follow(t, primary.Port)
	s.Exec(t, "SELECT pg_reload_conf()")
}

// Rejoin starts a former primary, after Kill, as a standby of another primary, with everything that
// only it has: nobody runs pg_rewind. It tries again and again to follow.
func (s *Server) Rejoin(t testing.TB, primary *Server) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "standby.signal"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	s.follow(t, primary.Port)
	s.configure(t, "wal_retrieve_retry_interval = 1ms\n")
	s.Start(t)
}

func (s *Server) follow(t testing.TB, port int) {
	t.Helper()
	s.configure(t, fmt.Sprintf("primary_conninfo = '%s application_name=%s'\n", conninfo(port), s.Name))
}

func newServer(t testing.TB, name string) *Server {
	t.Helper()
	return &Server{Name: name, Port: freePort(t), dir: ownFolder(t, name)}
}

// ownFolder makes a folder of the user that runs servers. It is removed when the test ends.
func ownFolder(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "konto-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	own(t, dir)
	return dir
}

// own gives a folder, which it makes if it is not there, to the user that runs servers.
func own(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if id := serverUser(t); id != nil {
		if err := os.Chown(dir, int(id.Uid), int(id.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// Folder returns the server's data folder.
func (s *Server) Folder() string { return s.dir }

// URL is how konto connects to the server's database.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://konto@127.0.0.1:%d/postgres?sslmode=disable", s.Port)
}

// Database makes an empty database, and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("konto%d", databases.Add(1))
	s.Exec(t, "CREATE DATABASE "+name)
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func conninfo(port int) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=konto dbname=postgres", port)
}

func (s *Server) configure(t testing.TB, text string) {
	t.Helper()
	path := filepath.Join(s.dir, "postgresql.auto.conf")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = string(old) + text
	if !strings.Contains(text, "\nport = ") {
		text += fmt.Sprintf("port = %d\n", s.Port)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Start starts the server, again after a Stop or a Kill.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	run(t, "pg_ctl", "-D", s.dir, "-l", filepath.Join(s.dir, "log"), "-w", "-t", "60", "start")
	t.Cleanup(func() { command(t, "pg_ctl", "-D", s.dir, "-m", "immediate", "stop").Run() })
}

// Kill ends all processes of the server at once, as a crash does.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	pids := s.processes(t)
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil {
			time.Sleep(time.Millisecond) // only the kernel knows when it is gone
		}
	}
	os.Remove(filepath.Join(s.dir, "postmaster.pid"))
}

// Signal sends a signal to the server's processes, as SIGSTOP.
func (s *Server) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	for _, pid := range s.processes(t) {
		if err := syscall.Kill(pid, signal); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
	}
}

// processes lists the postmaster first and then its children.
func (s *Server) processes(t testing.TB) (pids []int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	if err != nil {
		t.Fatal(err)
	}
	pids = []int{postmaster}
	for _, child := range strings.Fields(string(children)) {
		pid, _ := strconv.Atoi(child)
		pids = append(pids, pid)
	}
	return pids
}

// CPU is the processor time that the server has used, in user and in kernel mode.
func (s *Server) CPU(t testing.TB) (used time.Duration) {
	t.Helper()
	for i, pid := range s.processes(t) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended, and its parent has its time
		}
		_, after, _ := strings.Cut(string(text), ") ")
		times := strings.Fields(after)[11:15] // utime, stime, and those of children that have ended
		if i > 0 {
			times = times[:2]
		}
		for _, ticks := range times {
			n, _ := strconv.Atoi(ticks)
			used += time.Duration(n) * time.Second / 100
		}
	}
	return used
}

// Promote makes a standby the primary and returns once it takes writes. It waits for no standby
// until it gets one.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.configure(t, "synchronous_standby_names = ''\n")
	run(t, "pg_ctl", "-D", s.dir, "-w", "-t", "60", "promote")
	s.Exec(t, "SELECT pg_reload_conf()")
}

// Exec runs a statement as the server's superuser.
func (s *Server) Exec(t testing.TB, statement string) {
	t.Helper()
	s.ExecIn(t, s.URL(), statement)
}

// ExecIn is Exec in the database at url.
func (s *Server) ExecIn(t testing.TB, url, statement string) {
	t.Helper()
	if err := s.Try(t, url, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Try is ExecIn that returns the statement's error. The server's settings do not keep it waiting
// for a standby.
func (s *Server) Try(t testing.TB, url, statement string) error {
	t.Helper()
	conn := connect(t, url)
	defer conn.Close(context.Background())
	_, err := conn.Exec(context.Background(), statement)
	return err
}

// Stored returns the bytes that a table has in the server's files, after a checkpoint.
func (s *Server) Stored(t testing.TB, url, table string) []byte {
	t.Helper()
	s.ExecIn(t, url, "CHECKPOINT")
	conn := connect(t, url)
	defer conn.Close(context.Background())
	var path string
	if err := conn.QueryRow(context.Background(), "SELECT pg_relation_filepath($1)", table).Scan(&path); err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(filepath.Join(s.dir, path))
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// Await waits until a query answers true in the database at url.
func (s *Server) Await(t testing.TB, url, query string) {
	t.Helper()
	conn := connect(t, url)
	defer conn.Close(context.Background())
	for deadline := time.Now().Add(30 * time.Second); ; {
		var done bool
		if err := conn.QueryRow(context.Background(), query).Scan(&done); err != nil {
			t.Fatal(err)
		}
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never true: %s", query)
		}
		time.Sleep(10 * time.Millisecond) // Postgres has nothing to wait on here
	}
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["synchronous_commit"] = "local"
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// serverUser returns the user that runs servers if the tests run as root, which Postgres refuses.
func serverUser(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	found, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(found.Uid)
	gid, _ := strconv.Atoi(found.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(t, name), args...)
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if id := serverUser(t); id != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: id}
	}
	return cmd
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	cmd := command(t, name, args...)
	out, err := os.CreateTemp("", "konto-out-") // a server would keep a pipe open
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		t.Fatalf("%s: %v\n%s", name, err, text)
	}
}

// program finds a program. Debian keeps those of Postgres out of the PATH.
func program(t testing.TB, name string) string {
	t.Helper()
	places, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(places) > 0 {
		slices.Sort(places)
		return places[len(places)-1]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s: %v", name, err)
	}
	return path
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
