//go:build servers

package erasure_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/cmd/konto/erasure"
	"konto/commands"
	"konto/events"
	"konto/eventstore"
	"konto/eventstore/keyring"
	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
	"konto/projections"
	"konto/projections/deliveries"
	"konto/projections/webhook"
)

var (
	quiet = slog.New(slog.DiscardHandler)
	now   = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
)

// cluster is a database, and keys that its nodes share.
type cluster struct {
	t       *testing.T
	primary *postgrestest.Server
	url     string
	ring    *keyring.Keyring
}

func newCluster(t *testing.T, primary *postgrestest.Server) *cluster {
	t.Helper()
	c := &cluster{t: t, primary: primary, url: primary.Database(t)}
	var err error
	c.ring, err = keyring.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), make([]byte, 32))
	c.must(err)
	t.Cleanup(func() { c.ring.Close() })
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// is reports whether a query answers true.
func (c *cluster) is(query string) (yes bool) {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), c.url)
	c.must(err)
	defer conn.Close(c.t.Context())
	c.must(conn.QueryRow(c.t.Context(), query).Scan(&yes))
	return yes
}

// unseen makes a node one that was not seen for more than a minute. Its Run must not be running.
func (c *cluster) unseen(name string) {
	c.t.Helper()
	c.primary.ExecIn(c.t, c.url, `UPDATE cluster.node SET seen = seen - interval '61 seconds' WHERE name = '`+name+`'`)
}

// node is a process of the cluster.
type node struct {
	*erasure.Process
	c       *cluster
	log     *postgres.Log
	keys    *nodeKeys
	inbound *messages
	running sync.WaitGroup
	start   func() // makes it follow the log and say that it runs
	started bool
	kill    func() // ends everything at once; others are not told
}

// nodeKeys are the shared keys with what one node keeps of them in memory.
type nodeKeys struct {
	*keyring.Keyring
	mu      sync.Mutex
	ciphers map[events.Stream]cipher.AEAD
	ended   map[events.Stream]bool
}

func (k *nodeKeys) Cipher(ctx context.Context, stream events.Stream) (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known, ok := k.ciphers[stream]; ok {
		return known, nil
	}
	found, err := k.Keyring.Cipher(ctx, stream)
	if err == nil && !k.ended[stream] {
		k.ciphers[stream] = found
	}
	return found, err
}

func (k *nodeKeys) Ended(streams ...events.Stream) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, stream := range streams {
		k.ended[stream] = true
		delete(k.ciphers, stream)
	}
}

func (k *nodeKeys) Destroy(ctx context.Context, streams ...events.Stream) error {
	k.Ended(streams...)
	return k.Keyring.Destroy(ctx, streams...)
}

// open makes a process that has joined under a name, or has not if the name is "". Nothing runs yet.
func (c *cluster) open(name string) *node {
	c.t.Helper()
	ctx, folder := c.t.Context(), c.t.TempDir()
	db, err := postgres.Open(ctx, postgres.Config{URL: c.url, Unreplicated: true, Log: quiet})
	c.must(err)
	n := &node{c: c, inbound: &messages{}, keys: &nodeKeys{Keyring: c.ring, ciphers: map[events.Stream]cipher.AEAD{}, ended: map[events.Stream]bool{}}}
	n.log, err = postgres.OpenLog(ctx, db)
	c.must(err)
	var following atomic.Pointer[[]*projections.Follower]
	var member *postgres.Member
	if name != "" {
		member, err = db.Join(ctx, postgres.Node{Name: name}, func() uint64 {
			if all := following.Load(); all != nil {
				return erasure.Passed(*all...)
			}
			return 0
		})
		c.must(err)
	}
	store := eventstore.NewStore(n.log, n.keys)
	model, err := projections.OpenReadModel(ctx, filepath.Join(folder, "read.db"), n.log, n.keys)
	c.must(err)
	sent, err := deliveries.OpenFile(ctx, deliveries.FileConfig{Path: filepath.Join(folder, "deliveries.db"), Log: n.log, Keys: n.keys})
	c.must(err)
	shared, err := erasure.OpenShared(ctx, db, "node "+name, n.keys)
	c.must(err)
	reading := projections.NewFollower(projections.FollowerConfig{Name: "read-model", Store: store, Projection: model, Log: quiet})
	n.Process = &erasure.Process{
		Folder: folder, Mails: filepath.Join(folder, "mail"), Shared: shared, Store: store, Keys: n.keys, Model: model,
		CatchUp: func(ctx context.Context) error {
			head, err := store.Head(ctx)
			if err != nil {
				return err
			}
			return reading.WaitUnlessRetrying(ctx, head)
		},
		Past: projections.NewPast(store), Accounts: commands.NewAccounts(commands.Config{Store: store, Snapshots: model}),
		Credentials: commands.NewCredentials(store, nil), Deliveries: sent, Log: quiet,
	}
	c.must(n.Process.Open(ctx))
	all := []*projections.Follower{reading, n.Follower}
	following.Store(&all)
	if name != "" {
		n.Serve(n.inbound)
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	n.kill = sync.OnceFunc(func() {
		end()
		n.log.Close()
	})
	c.t.Cleanup(func() {
		n.kill()
		n.running.Wait()
		sent.Close()
		model.Close()
	})
	start := func(run func(ctx context.Context) error) { n.running.Go(func() { run(running) }) }
	n.start = func() {
		n.started = true
		for _, f := range all {
			start(f.Run)
		}
		if member != nil {
			start(member.Run)
		}
	}
	return n
}

// node opens a process that follows the log.
func (c *cluster) node(name string) *node {
	c.t.Helper()
	n := c.open(name)
	n.start()
	return n
}

func (n *node) account(email string) ulid.ULID {
	n.c.t.Helper()
	id, err := datafolder.NewID()
	n.c.must(err)
	_, err = n.Accounts.Do(n.c.t.Context(), id, events.Metadata{}, commands.Open{Email: email, PaywayID: commands.NewPaywayID()}.WithDefaults())
	n.c.must(err)
	return id
}

// remember makes the node have an account in its memory.
func (n *node) remember(account ulid.ULID) {
	n.c.t.Helper()
	past, err := n.Past.AccountAt(n.c.t.Context(), account, 1)
	n.c.must(err)
	if past.Email == "" || n.canDecrypt(account) != nil {
		n.c.t.Fatalf("the account is %+v", past)
	}
}

func (n *node) canDecrypt(account ulid.ULID) error {
	_, err := n.keys.Cipher(n.c.t.Context(), events.AccountStream(account))
	return err
}

func (n *node) checkForgotten(account ulid.ULID) {
	t := n.c.t
	t.Helper()
	if err := n.canDecrypt(account); !errors.Is(err, eventstore.ErrDestroyed) {
		t.Errorf("the account can be decrypted: %v", err)
	}
	if past, err := n.Past.AccountAt(t.Context(), account, 1); err != nil || !past.Erased || past.Email != "" {
		t.Errorf("it was %+v, %v", past, err)
	}
	if !n.NamesErased([]byte("about " + account.String())) {
		t.Error("the node does not know that the account is erased")
	}
}

// checkErased checks that an account's erasure is done, with so many lines of the ledger.
func (n *node) checkErased(account ulid.ULID, lines int) {
	t := n.c.t
	t.Helper()
	n.c.must(n.Shared.Refresh(t.Context()))
	if done, err := n.IsErased(t.Context(), account); !done || err != nil {
		t.Errorf("it is erased: %v, %v", done, err)
	}
	if err := n.Shared.Check(t.Context(), webhook.TokenKey(n.keys.Derive)); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), erasure.LedgerName)
	n.c.must(n.Shared.Copy(t.Context(), path))
	all, _, err := erasure.ReadLedger(path)
	n.c.must(err)
	if found := slices.DeleteFunc(all, func(l erasure.Line) bool { return l.Account != account }); len(found) != lines {
		t.Errorf("the ledger has %+v", found)
	}
}

// Nothing of an account is in the memory of any node when Erase returns: neither of one that
// follows the log all the time, nor of one that begins to when the account has ended.
func TestErasureReachesEveryNode(t *testing.T) {
	erasure.SetNodeTime(t, time.Minute)
	c := newCluster(t, postgrestest.Primary(t))
	a := c.node("a")
	a.inbound.texts = []string{"anna@example.com", "other@example.com"}
	account := a.account("anna@example.com")
	var sessions []ulid.ULID
	for range 2 {
		issued, err := a.Credentials.OpenSession(t.Context(), events.Metadata{}, events.SessionOpened{Account: account, AuthType: "session"})
		c.must(err)
		sessions = append(sessions, issued.ID)
	}
	_, err := a.Credentials.Revoke(t.Context(), events.Metadata{}, sessions[0]) // before the other nodes follow the log
	c.must(err)
	follows, starts := c.node("b"), c.open("c")
	c.must(follows.CatchUp(t.Context()))
	for _, n := range []*node{follows, starts} {
		n.remember(account)
		for _, id := range sessions {
			_, err := n.keys.Cipher(t.Context(), events.CredentialStream(id))
			c.must(err)
		}
	}
	a.After = func(step int) error {
		switch {
		case step == 2 && !starts.started:
			starts.start()
		case step == 3 && (a.canDecrypt(account) != nil || !c.is(`SELECT min(position) = (SELECT position FROM log.head) FROM cluster.node`)):
			t.Error("the key did not wait for the nodes that run")
		}
		return nil
	}
	done, err := a.Erase(t.Context(), account, datafolder.Itself())
	if err != nil || done.Proof == "" {
		t.Fatalf("erased: %+v, %v", done, err)
	}
	if !c.is(`SELECT count(*) = 3 AND min(position) = (SELECT position FROM log.head) FROM cluster.node`) {
		t.Error("a node has not passed the end of the account")
	}
	for _, n := range []*node{a, follows, starts} {
		n.checkForgotten(account)
		for _, id := range sessions {
			if _, err := n.keys.Cipher(t.Context(), events.CredentialStream(id)); !errors.Is(err, eventstore.ErrDestroyed) {
				t.Errorf("a credential can be decrypted: %v", err)
			}
		}
	}
	a.checkErased(account, 1)
	if rows, err := follows.Rows.All(t.Context()); len(rows) > 0 || len(a.inbound.texts) != 1 || err != nil {
		t.Errorf("left are %v and %v, %v", rows, a.inbound.texts, err)
	}
}

// Whenever a node is killed, another one finishes its erasure.
func TestErasureIsFinishedByAnotherNode(t *testing.T) {
	primary := postgrestest.Primary(t)
	t.Run("after step", func(t *testing.T) {
		for step := 1; step <= erasure.Steps; step++ {
			t.Run(fmt.Sprint(step), func(t *testing.T) {
				t.Parallel()
				c := newCluster(t, primary)
				a, b := c.node("a"), c.node("b")
				account, killed := a.account("anna@example.com"), errors.New("killed")
				c.must(b.CatchUp(t.Context()))
				b.remember(account)
				a.After = func(ended int) error {
					if ended == step {
						a.kill()
						return killed
					}
					return nil
				}
				if _, err := a.Erase(t.Context(), account, datafolder.Itself()); !errors.Is(err, killed) {
					t.Fatalf("step %d: %v", step, err)
				}
				a.running.Wait()
				c.unseen("a")
				c.must(b.Look(t.Context()))
				b.checkForgotten(account)
				lines := 1
				if step == 8 { // the row did not say yet that it is proven
					lines = 2
				}
				b.checkErased(account, lines)
			})
		}
	})
}

// The proof waits for a node that has stopped, until others no longer reckon with it. The keys do
// not wait for as long.
func TestErasureWaitsForANodeThatHasStopped(t *testing.T) {
	c := newCluster(t, postgrestest.Primary(t))
	a := c.node("a")
	account := a.account("anna@example.com")
	c.open("b") // follows nothing, and does not say that it runs
	waited := make(chan bool)
	a.After = func(step int) error {
		if step == 7 {
			select {
			case waited <- true:
			case <-t.Context().Done():
			}
		}
		return nil
	}
	erased := make(chan error, 1)
	go func() {
		_, err := a.Erase(t.Context(), account, datafolder.Itself())
		erased <- err
	}()
	<-waited
	<-waited // it has begun again
	c.must(a.Shared.Refresh(t.Context()))
	if done, err := a.IsErased(t.Context(), account); done || err != nil || !errors.Is(a.canDecrypt(account), eventstore.ErrDestroyed) {
		t.Errorf("it is erased: %v, %v, and its key is: %v", done, err, a.canDecrypt(account))
	}
	if !c.is(`SELECT count(*) = 0 FROM cluster.erased`) {
		t.Error("there is a proof")
	}
	c.unseen("b")
	for running := true; running; {
		select {
		case <-waited:
		case err := <-erased:
			c.must(err)
			running = false
		}
	}
	a.checkErased(account, 1)
	if !c.is(`SELECT count(*) = 1 FROM cluster.node`) {
		t.Error("the node that has stopped does not learn that it was given up")
	}
}

func TestTwoNodesEraseOneAccountOnce(t *testing.T) {
	c := newCluster(t, postgrestest.Primary(t))
	a, b := c.node("a"), c.node("b")
	account := a.account("anna@example.com")
	proofs := make([]string, 2)
	var erasing sync.WaitGroup
	for i, n := range []*node{a, b} {
		erasing.Go(func() {
			done, err := n.Erase(t.Context(), account, datafolder.Itself())
			if proofs[i] = done.Proof; err != nil {
				t.Errorf("erased: %v", err)
			}
		})
	}
	erasing.Wait()
	if proofs[0] == "" || proofs[0] != proofs[1] {
		t.Errorf("the proofs are %v", proofs)
	}
	a.checkErased(account, 1)
}

// Run may read the tables at any moment, also between the proof and the row that says so.
func TestErasureThatOthersReadOfMeanwhileIsProven(t *testing.T) {
	c := newCluster(t, postgrestest.Primary(t))
	a := c.node("a")
	account := a.account("anna@example.com")
	a.After = func(step int) error {
		if step == 8 {
			return a.Shared.Refresh(t.Context())
		}
		return nil
	}
	if done, err := a.Erase(t.Context(), account, datafolder.Itself()); done.Proof == "" || err != nil {
		t.Errorf("erased: %+v, %v", done, err)
	}
	a.checkErased(account, 1)
}

// A process that is no server leaves it to the servers to delete messages, and waits.
func TestServersDeleteTheMessagesOfAnAccountThatACommandErases(t *testing.T) {
	c := newCluster(t, postgrestest.Primary(t))
	server, command := c.node("a"), c.node("")
	server.inbound.texts = []string{"anna@example.com"}
	account := server.account("anna@example.com")
	running, stop := context.WithCancel(t.Context())
	defer stop()
	go server.Run(running)
	_, err := command.Erase(t.Context(), account, datafolder.Itself())
	if c.must(err); len(server.inbound.texts) > 0 {
		t.Errorf("left are %v", server.inbound.texts)
	}
	command.checkErased(account, 1)
}

// A node that starts beside an erasure that was not finished waits for nobody. It destroys the key.
func TestNodeStartsBesideAnUnfinishedErasure(t *testing.T) {
	c := newCluster(t, postgrestest.Primary(t))
	a := c.node("a")
	account, failed := a.account("anna@example.com"), errors.New("disk full")
	a.After = func(step int) error {
		if step == 1 {
			return failed
		}
		return nil
	}
	if _, err := a.Erase(t.Context(), account, datafolder.Itself()); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	b := c.node("b")
	c.must(b.Reconcile(t.Context()))
	if err := b.canDecrypt(account); !errors.Is(err, eventstore.ErrDestroyed) {
		t.Errorf("its key: %v", err)
	}
	if !c.is(`SELECT count(*) = 0 FROM cluster.erased`) {
		t.Error("the proof did not wait until this node follows the log")
	}
	c.must(b.Look(t.Context()))
	b.checkErased(account, 1)
}

// A node that stopped while it had the lease, and does not know that it is lost, changes nothing.
func TestWritesOfANodeThatHasLostTheLeaseAreRefused(t *testing.T) {
	c := newCluster(t, postgrestest.Primary(t))
	a, b := c.open("a").Shared, c.open("b").Shared
	account := ulid.Make()
	row := erasure.Row{Names: []string{"anna@example.com"}}
	for name, write := range map[string]func(*erasure.Shared) error{
		"put":    func(s *erasure.Shared) error { return s.Put(t.Context(), account, row) },
		"delete": func(s *erasure.Shared) error { return s.Delete(t.Context(), account) },
		"add": func(s *erasure.Shared) error {
			return s.Add(t.Context(), erasure.Line{Account: account, Intended: now})
		},
	} {
		if err := write(a); !errors.Is(err, postgres.ErrLeaseLost) {
			t.Errorf("%s without the lease: %v", name, err)
		}
		a.Hold(t.Context(), func(context.Context) error {
			c.primary.ExecIn(t, c.url, `UPDATE cluster.lease SET until = '-infinity'`)
			return b.Hold(t.Context(), func(context.Context) error {
				if err := write(a); !errors.Is(err, postgres.ErrLeaseLost) {
					t.Errorf("%s with a lost lease: %v", name, err)
				}
				if err := write(b); err != nil {
					t.Errorf("%s of the holder: %v", name, err)
				}
				return nil
			})
		})
	}
}

// The bytes of a row that was replaced or deleted are in no file of the database.
func TestSharedRowsAreSealedAndOverwritten(t *testing.T) {
	c := newCluster(t, postgrestest.Primary(t))
	s, account, other := c.open("a").Shared, ulid.Make(), ulid.Make()
	var folder string
	conn, err := pgx.Connect(t.Context(), c.url)
	c.must(err)
	defer conn.Close(t.Context())
	c.must(conn.QueryRow(t.Context(), `SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database WHERE datname = current_database()`).Scan(&folder))
	in := func(text []byte) (found bool) {
		t.Helper()
		c.primary.ExecIn(t, c.url, "CHECKPOINT")
		c.must(filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			found = found || bytes.Contains(content, text)
			return err
		}))
		return found
	}
	sealed := func(account ulid.ULID) (content []byte) {
		t.Helper()
		c.must(conn.QueryRow(t.Context(), `SELECT content FROM cluster.erasure WHERE account = $1`, account[:]).Scan(&content))
		return content
	}
	c.must(s.Hold(t.Context(), func(context.Context) error {
		c.must(s.Put(t.Context(), other, erasure.Row{PaywayID: "c0ffee"}))
		c.must(s.Put(t.Context(), account, erasure.Row{Names: []string{"anna@example.com"}}))
		first := sealed(account)
		if in([]byte("anna@")) || !in(first) {
			t.Error("the names are in clear, or not found at all")
		}
		c.must(s.Put(t.Context(), account, erasure.Row{}))
		second := sealed(account)
		if in(first) || !in(second) {
			t.Error("names that were replaced are still in the files")
		}
		c.must(s.Delete(t.Context(), account))
		if in(second) {
			t.Error("a deleted row is still in the files")
		}
		return nil
	}))
	if rows, err := s.All(t.Context()); len(rows) != 1 || rows[other].PaywayID != "c0ffee" || err != nil {
		t.Errorf("the rows are %v, %v", rows, err)
	}
}

// Whoever was erased is known to each node that starts, and lines that are gone are missed.
func TestSharedLedgerKeepsItsLines(t *testing.T) {
	c := newCluster(t, postgrestest.Primary(t))
	a := c.open("a").Shared
	account := ulid.Make()
	c.must(a.Hold(t.Context(), func(context.Context) error {
		return a.Add(t.Context(), erasure.Line{Account: account, Intended: now})
	}))
	b := c.open("b").Shared
	if line, ok := b.Of(account); !ok || !line.Intended.Equal(now) {
		t.Errorf("it has %+v, %v", line, ok)
	}
	if err := c.primary.Try(t, c.url, `DELETE FROM cluster.erased`); err == nil || !strings.Contains(err.Error(), "only added") {
		t.Errorf("lines were deleted: %v", err)
	}
	c.primary.ExecIn(t, c.url, `ALTER TABLE cluster.erased DISABLE TRIGGER USER; DELETE FROM cluster.erased`)
	if err := b.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "are gone") {
		t.Errorf("lines that are gone: %v", err)
	}
	c.primary.ExecIn(t, c.url, `INSERT INTO cluster.erased (line) VALUES ('{}')`)
	if _, err := erasure.OpenShared(t.Context(), openDatabase(c), "c", c.ring); err == nil || !strings.Contains(err.Error(), "line 2 of the table cluster.erased cannot be read") {
		t.Errorf("a damaged line: %v", err)
	}
}

func openDatabase(c *cluster) *postgres.Database {
	c.t.Helper()
	db, err := postgres.Open(c.t.Context(), postgres.Config{URL: c.url, Unreplicated: true, Log: quiet})
	c.must(err)
	c.t.Cleanup(db.Close)
	return db
}
