package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// beatEvery is how often a node says that it runs, and how far it has come.
	beatEvery = time.Second
	// liveTime is how long a node is called live after it was last seen. A standby that is replaced
	// and a garbage collection take less.
	liveTime = 10 * time.Second
	// goneTime is how long others wait for a node that is no longer seen. See PassedBy.
	goneTime = time.Minute
)

// ErrNodeGone is returned by a Member's Run when others no longer reckon with the node: it was not
// seen for a minute and somebody went on without it, or another process has taken its name. What
// the process has in memory may be erased since. It must end, and may be started again.
var ErrNodeGone = errors.New("the other nodes no longer reckon with this one")

// Node is a process that works on the log and answers requests.
type Node struct {
	Name     string // unique; leases are held by it
	Address  string // where it answers, for people
	Version  string
	Position uint64        // all its followers have passed it
	Age      time.Duration // since it was last seen
	Live     bool          // it was seen within 10 s
	Leases   []string      // that it holds, by name
}

// Member is this process as one of the nodes.
type Member struct {
	db          *Database
	name        string
	incarnation []byte
	position    func() uint64
}

// Join adds this process to the nodes. A node must join before it reads anything that an erasure
// takes away, such as a key, because the proof of an erasure waits only for nodes that have joined.
//
// position returns the lowest position that all followers of the node have passed: whatever the node
// has in memory and in its own files, it has applied the log to it up to there.
//
// If a process with the same name runs, Join returns an error. To know that, it waits for 6 s: a
// node that was killed is started again at once.
func (db *Database) Join(ctx context.Context, n Node, position func() uint64) (*Member, error) {
	m := &Member{db: db, name: n.Name, incarnation: []byte(rand.Text()), position: position}
	for deadline := time.Now().Add(leaseTime + beatEvery); ; {
		var joined bool
		err := db.Write(ctx, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, `INSERT INTO cluster.node AS n (name, address, version, position, incarnation, seen)
				VALUES ($1, $2, $3, $4, $5, clock_timestamp())
				ON CONFLICT (name) DO UPDATE SET address = excluded.address, version = excluded.version,
					position = excluded.position, incarnation = excluded.incarnation, seen = excluded.seen
					WHERE n.seen < clock_timestamp() - $6::interval OR n.incarnation = excluded.incarnation`,
				n.Name, n.Address, n.Version, position(), m.incarnation, leaseTime)
			joined = tag.RowsAffected() > 0
			return err
		})
		switch {
		case err != nil:
			return nil, fmt.Errorf("join the other nodes: %w", err)
		case joined:
			db.incarnation.Store(m.incarnation)
			return m, nil
		case time.Now().After(deadline):
			return nil, fmt.Errorf("another node named %s runs, give each node a name of its own", n.Name)
		}
		select {
		case <-time.After(beatEvery / 2):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Run says every second that the node runs and how far it has come. When ctx ends it removes the
// node and returns nil, so ctx must end last: after it nobody waits for the node any more.
// ErrNodeGone: the process must end at once.
//
// A node that was stopped for long and goes on, learns within a second that it is gone. Until then
// it answers nothing from before: what it reads waits for a barrier and for its read model, and its
// read model passes what happened meanwhile.
func (m *Member) Run(ctx context.Context) error {
	for {
		select {
		case <-time.After(beatEvery):
		case <-ctx.Done():
			return m.leave(context.WithoutCancel(ctx))
		}
		// Without an answer, the next one tells more.
		if err := m.beat(ctx); errors.Is(err, ErrNodeGone) {
			return err
		}
	}
}

// beat says how far the node has come. It waits for no standby: a position that was passed stays
// passed, and after a failover an older one only makes others wait.
func (m *Member) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	tag, err := m.db.pool.Exec(ctx, `UPDATE cluster.node SET position = $3, seen = clock_timestamp()
		FROM set_config('synchronous_commit', 'local', true) WHERE name = $1 AND incarnation = $2`,
		m.name, m.incarnation, m.position())
	if err == nil && tag.RowsAffected() == 0 {
		err = fmt.Errorf("%w: %s; start it again", ErrNodeGone, m.name)
	}
	return err
}

func (m *Member) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	_, err := m.db.pool.Exec(ctx, `DELETE FROM cluster.node WHERE name = $1 AND incarnation = $2`, m.name, m.incarnation)
	if err != nil {
		return fmt.Errorf("the other nodes wait a minute for this one: %w", err)
	}
	return nil
}

// Nodes lists the nodes that run, and those that were not stopped cleanly, by name.
func (db *Database) Nodes(ctx context.Context) (nodes []Node, err error) {
	err = db.Read(ctx, func(b *pgx.Batch) {
		b.Queue(`SELECT name, address, version, position, extract(epoch FROM clock_timestamp() - seen)::float8,
				seen > clock_timestamp() - $1::interval,
				ARRAY(SELECT l.name FROM cluster.lease l WHERE l.holder = n.name AND l.until > clock_timestamp() ORDER BY l.name)
			FROM cluster.node n ORDER BY name`, liveTime).Query(func(rows pgx.Rows) error {
			nodes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (n Node, err error) {
				var age float64
				err = row.Scan(&n.Name, &n.Address, &n.Version, &n.Position, &age, &n.Live, &n.Leases)
				n.Age = time.Duration(age * float64(time.Second))
				return n, err
			})
			return err
		})
	})
	return nodes, err
}

// PassedBy returns the names of the nodes that have not passed a position yet. When there are none,
// no node has in memory what its followers delete up to there.
//
// A node that was not seen for a minute is not waited for. Its row is deleted, durably, so that it
// learns of that if it goes on: its Run ends with ErrNodeGone.
func (db *Database) PassedBy(ctx context.Context, position uint64) (behind []string, err error) {
	err = db.Write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM cluster.node WHERE position < $1 AND seen < clock_timestamp() - $2::interval`, position, goneTime)
		if err != nil {
			return err
		}
		found, err := tx.Query(ctx, `SELECT name FROM cluster.node WHERE position < $1 ORDER BY name`, position)
		if err != nil {
			return err
		}
		behind, err = pgx.CollectRows(found, pgx.RowTo[string])
		return err
	})
	return behind, err
}

// ErrNodesRun is matched by the error of what must be done while no other node is live.
var ErrNodesRun = errors.New("stop them first")

// refuseNodes returns an error if nodes other than this one are live. None joins until tx ends.
func (db *Database) refuseNodes(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `LOCK TABLE cluster.node IN SHARE MODE`); err != nil {
		return failed("write to", err)
	}
	self, _ := db.incarnation.Load().([]byte)
	found, _ := tx.Query(ctx, `SELECT name FROM cluster.node
		WHERE seen > clock_timestamp() - $1::interval AND incarnation IS DISTINCT FROM $2 ORDER BY name`, liveTime, self)
	live, err := pgx.CollectRows(found, pgx.RowTo[string]) // and the query's error
	if err != nil {
		return failed("read", err)
	}
	if len(live) > 0 {
		return fmt.Errorf("nodes run on this store (%s): %w", strings.Join(live, ", "), ErrNodesRun)
	}
	return nil
}
