package postgrestest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Patroni is one etcd and two Postgres servers, each run by a Patroni of its own. One server is
// the primary, the other its synchronous standby. Patroni chooses.
type Patroni struct {
	dir     string
	etcd    int // its port
	members []*Member
}

// Member is a Postgres server and the Patroni that runs it.
type Member struct {
	Name string
	Port int

	cluster *Patroni
	api     int // the port of Patroni's REST API
	dir     string
}

// failoverWithin bounds what Patroni needs for one step: a ttl, a promotion, pg_rewind and the start
// of a server, on a machine that has other work.
const failoverWithin = 2 * time.Minute

// StartPatroni starts a cluster and returns once it is healthy. It ends with the test, or with the
// process of the test, however that ends.
func StartPatroni(t testing.TB) *Patroni {
	t.Helper()
	p := &Patroni{dir: ownFolder(t, "patroni"), etcd: freePort(t)}
	p.endWithTest(t)
	own(t, filepath.Join(p.dir, "etcd"))
	p.start(t, "etcd", "etcd", "--name=etcd", "--data-dir=data", "--log-level=error",
		"--listen-client-urls="+local(p.etcd), "--advertise-client-urls="+local(p.etcd),
		"--listen-peer-urls=http://127.0.0.1:0", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=etcd=http://127.0.0.1:2380")
	for _, name := range []string{"a", "b"} {
		m := &Member{Name: name, Port: freePort(t), cluster: p, api: freePort(t), dir: filepath.Join(p.dir, name)}
		own(t, m.dir)
		m.write(t)
		m.start(t)
		p.members = append(p.members, m)
	}
	ctx, cancel := context.WithTimeout(context.Background(), failoverWithin)
	defer cancel()
	if err := p.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// bootstrap runs once, in the new primary, before there is a standby. Its argument is how to connect.
const bootstrap = `#!/bin/sh
exec psql -q -v ON_ERROR_STOP=1 -d "$1" -c "SET synchronous_commit = local" -c "CREATE ROLE konto LOGIN" \
	-c "GRANT pg_read_all_stats TO konto" -c "CREATE DATABASE konto OWNER konto"
`

// configuration is a member's. A failover takes about ttl seconds: loop_wait + 2 * retry_timeout may
// be no longer. Since 3.1, Patroni takes 20 s where less is asked for.
const configuration = `
scope: konto
name: %[1]s
etcd3: {host: "127.0.0.1:%[2]d"}
restapi: {listen: "127.0.0.1:%[3]d", connect_address: "127.0.0.1:%[3]d"}
bootstrap:
  dcs:
    ttl: 10
    loop_wait: 2
    retry_timeout: 3
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      parameters: {max_connections: 200, wal_log_hints: "on", wal_keep_size: 256MB}
  initdb: [{encoding: UTF8}, {locale: C}, data-checksums]
  post_bootstrap: %[5]s/bootstrap
postgresql:
  listen: "127.0.0.1:%[4]d"
  connect_address: "127.0.0.1:%[4]d"
  data_dir: %[5]s/data
  bin_dir: %[6]s
  pgpass: %[5]s/pgpass
  basebackup: [{checkpoint: fast}]
  authentication:
    superuser: {username: postgres}
    replication: {username: postgres}
  parameters: {unix_socket_directories: "", shared_buffers: 64MB, log_min_messages: warning}
  pg_hba: [host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
`

func (m *Member) write(t testing.TB) {
	t.Helper()
	text := fmt.Sprintf(configuration, m.Name, m.cluster.etcd, m.api, m.Port, m.dir, filepath.Dir(program(t, "initdb")))
	for name, text := range map[string]string{"patroni.yml": text, "bootstrap": bootstrap} {
		path := filepath.Join(m.dir, name)
		err := os.WriteFile(path, []byte(text), 0o755)
		if err == nil {
			err = os.Chmod(path, 0o755) // the process may have an umask
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (m *Member) start(t testing.TB) {
	t.Helper()
	m.cluster.start(t, m.Name, "patroni", "patroni.yml")
}

// start starts a program in a folder of the cluster. By its working directory it is found again, and
// so are the servers that Patroni starts: Postgres works in its data folder.
func (p *Patroni) start(t testing.TB, folder, name string, args ...string) {
	t.Helper()
	cmd := command(t, name, args...)
	cmd.Dir = filepath.Join(p.dir, folder)
	log, err := os.OpenFile(filepath.Join(cmd.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait()
}

// endWithTest starts a shell that ends the cluster and removes its folder when the pipe to it is
// closed, which happens at the end of the test, and when the test is killed.
func (p *Patroni) endWithTest(t testing.TB) {
	t.Helper()
	shell := exec.Command("sh", "-c", `cat; while
			pids=; for p in /proc/[0-9]*; do case $(readlink $p/cwd) in "$0"/*) pids="$pids ${p#/proc/}" ;; esac; done
			[ "$pids" ]
		do kill -KILL $pids; sleep 0.1; done; rm -rf "$0"`, p.dir)
	shell.Dir, shell.SysProcAttr = "/", &syscall.SysProcAttr{Setsid: true}
	pipe, err := shell.StdinPipe()
	if err == nil {
		err = shell.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			p.logTo(t)
		}
		pipe.Close()
		shell.Wait()
	})
}

// URL is how konto connects to the primary of the cluster, whichever it is.
func (p *Patroni) URL() string {
	return fmt.Sprintf("postgres://konto@127.0.0.1:%d,127.0.0.1:%d/konto?sslmode=disable", p.members[0].Port, p.members[1].Port)
}

// URL is how konto connects to this server.
func (m *Member) URL() string {
	return fmt.Sprintf("postgres://konto@127.0.0.1:%d/konto?sslmode=disable", m.Port)
}

// Primary returns the member that is the primary. It waits until one is.
func (p *Patroni) Primary(t testing.TB) *Member {
	t.Helper()
	return p.AwaitPromoted(t, nil)
}

// AwaitPromoted waits until a member other than old is the primary, and returns it.
func (p *Patroni) AwaitPromoted(t testing.TB, old *Member) (promoted *Member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), failoverWithin)
	defer cancel()
	err := poll(ctx, func() bool {
		for _, m := range p.members {
			// A Patroni that has the leader's lock says that it is the primary before its server is.
			if m != old && m.says(ctx, "primary") && m.answers(ctx, `SELECT NOT pg_is_in_recovery()`) {
				promoted = m
			}
		}
		return promoted != nil
	})
	if err != nil {
		t.Fatal(fmt.Errorf("no member becomes the primary: %w", err))
	}
	return promoted
}

// WaitHealthy waits until there is a primary, and a synchronous standby streams from it that Patroni
// would promote.
func (p *Patroni) WaitHealthy(ctx context.Context) error {
	err := poll(ctx, func() bool {
		for i, m := range p.members {
			if m.says(ctx, "primary") && p.members[1-i].says(ctx, "sync") && m.answers(ctx, `SELECT NOT pg_is_in_recovery() AND
				EXISTS (SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync')`) {
				return true
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("the cluster does not become healthy: %w", err)
	}
	return nil
}

// poll waits until done returns true: neither Patroni nor Postgres has anything to wait on.
func poll(ctx context.Context, done func() bool) error {
	for !done() {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// answerWithin bounds a question to a member, which may be stopped and still accept connections.
const answerWithin = 2 * time.Second

// says asks the member's Patroni whether the member has a role.
func (m *Member) says(ctx context.Context, role string) bool {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, local(m.api)+"/"+role, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// answers asks the member's server a question.
func (m *Member) answers(ctx context.Context, query string) (yes bool) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, m.URL())
	if err != nil {
		return false
	}
	defer conn.Close(context.Background())
	err = conn.QueryRow(ctx, query).Scan(&yes)
	return err == nil && yes
}

// KillPrimary ends the primary's server and its Patroni at once, waits until the standby is promoted,
// and starts the Patroni again, which makes the old primary a standby. It returns the new primary.
func (p *Patroni) KillPrimary(t testing.TB) *Member {
	t.Helper()
	old := p.Primary(t)
	old.signal(t, syscall.SIGKILL, old.dir, old.data())
	promoted := p.AwaitPromoted(t, old)
	old.start(t)
	return promoted
}

// Pause stops all processes of the member, as a machine that hangs. Connections to it stay open.
func (m *Member) Pause(t testing.TB) {
	t.Helper()
	m.signal(t, syscall.SIGSTOP, m.dir, m.data())
}

// ContinueServer continues the server after a Pause, and not its Patroni.
func (m *Member) ContinueServer(t testing.TB) {
	t.Helper()
	m.signal(t, syscall.SIGCONT, m.data())
}

// RestartPatroni ends the member's Patroni and starts it again. After a Pause it must not be continued
// instead: before 3.0.3, a Patroni that does not know how long it was stopped may take the leader's
// lock from the member that was promoted, and the cluster does not become healthy any more.
// See https://github.com/patroni/patroni/pull/2689.
func (m *Member) RestartPatroni(t testing.TB) {
	t.Helper()
	m.signal(t, syscall.SIGKILL, m.dir)
	m.start(t)
}

func (m *Member) data() string { return filepath.Join(m.dir, "data") }

// signal sends a signal to all processes of the member that work in one of the folders, and waits
// until those that it kills are gone.
func (m *Member) signal(t testing.TB, signal syscall.Signal, folders ...string) {
	t.Helper()
	var pids []int
	places, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, place := range places {
		// Of what has ended meanwhile, and of what is another user's, nothing can be read.
		if folder, err := os.Readlink(place); err == nil && slices.Contains(folders, folder) {
			pid, _ := strconv.Atoi(strings.Split(place, "/")[2])
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatalf("%s does not run", m.Name)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
	}
	for _, pid := range pids {
		for signal == syscall.SIGKILL && isRunning(pid) {
			time.Sleep(time.Millisecond) // only the kernel knows when it is gone
		}
	}
}

// isRunning returns false for a zombie too, which has no working directory.
func isRunning(pid int) bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil
}

// logTo adds the ends of the logs of Patroni and Postgres to the log of the test.
func (p *Patroni) logTo(t testing.TB) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(p.dir, "*", "log"))
	for _, log := range logs {
		text, _ := os.ReadFile(log)
		t.Logf("%s:\n%s", log, text[max(0, len(text)-20_000):])
	}
}

func local(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
