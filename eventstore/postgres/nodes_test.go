//go:build servers

package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"konto/eventstore/postgres"
	"konto/eventstore/postgres/postgrestest"
)

// member is a node of a test.
type member struct {
	*postgres.Member
	position atomic.Uint64
	stop     context.CancelFunc
	ended    chan error // what Run returned
}

func join(t *testing.T, db *postgres.Database, name string, position uint64) *member {
	t.Helper()
	m := &member{ended: make(chan error, 1)}
	m.position.Store(position)
	var err error
	m.Member, err = db.Join(t.Context(), postgres.Node{Name: name, Address: name + ":8080", Version: "v1"}, m.position.Load)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run makes the node say how far it is. A node that does not run is one that was stopped.
func (m *member) run(t *testing.T) {
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	m.stop = stop
	go func() { m.ended <- m.Run(ctx) }()
	t.Cleanup(stop)
}

func nodes(t *testing.T, db *postgres.Database) []postgres.Node {
	t.Helper()
	all, err := db.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func behind(t *testing.T, db *postgres.Database, position uint64) []string {
	t.Helper()
	names, err := db.PassedBy(t.Context(), position)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestNodesTellWhoRunsAndHowFarTheyAre(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	db := openDatabase(t, url)
	a, b := join(t, db, "a", 7), join(t, db, "b", 9)
	a.run(t)
	b.run(t)
	h := hold(t, db, "b")
	<-h.lease
	all := nodes(t, db)
	if len(all) != 2 || all[0].Name != "a" || all[0].Address != "a:8080" || all[0].Version != "v1" || all[0].Position != 7 || !all[0].Live ||
		len(all[0].Leases) != 0 || !slices.Equal(all[1].Leases, []string{"publisher"}) || all[1].Position != 9 {
		t.Errorf("the nodes are %+v", all)
	}
	if names := behind(t, db, 7); len(names) != 0 {
		t.Errorf("%v are behind 7", names)
	}
	if names := behind(t, db, 9); !slices.Equal(names, []string{"a"}) {
		t.Errorf("%v are behind 9", names)
	}
	a.position.Store(9)
	primary.Await(t, url, `SELECT position = 9 FROM cluster.node WHERE name = 'a'`)
	if names := behind(t, db, 9); len(names) != 0 {
		t.Errorf("%v are behind 9", names)
	}
	h.end <- nil
	<-h.ended
	b.stop()
	if err := <-b.ended; err != nil {
		t.Errorf("b ended with %v", err)
	}
	if all := nodes(t, db); len(all) != 1 || all[0].Name != "a" {
		t.Errorf("a node that was stopped cleanly is still listed: %+v", all)
	}
}

// A node that was not seen for 10 s is not live, but others wait for it for a minute.
func TestNodeIsGivenUpWhenItIsNotSeen(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	db := openDatabase(t, url)
	stopped, ahead := join(t, db, "stopped", 3), join(t, db, "ahead", 8)
	unseen := func(age string) {
		primary.ExecIn(t, url, `UPDATE cluster.node SET seen = clock_timestamp() - interval '`+age+`'`)
	}
	unseen("11 seconds")
	if all := nodes(t, db); len(all) != 2 || all[0].Live || all[1].Live || all[0].Age < 11e9 {
		t.Errorf("the nodes are %+v", all)
	}
	if names := behind(t, db, 5); !slices.Equal(names, []string{"stopped"}) {
		t.Errorf("%v are behind", names)
	}
	unseen("61 seconds")
	if names := behind(t, db, 5); len(names) != 0 {
		t.Errorf("%v are behind", names)
	}
	// Only the node that somebody went on without has to end.
	stopped.run(t)
	ahead.run(t)
	if err := <-stopped.ended; !errors.Is(err, postgres.ErrNodeGone) {
		t.Errorf("its Run ended with %v", err)
	}
	primary.Await(t, url, `SELECT seen > clock_timestamp() - interval '10 seconds' FROM cluster.node WHERE name = 'ahead'`)
	if all := nodes(t, db); len(all) != 1 || all[0].Name != "ahead" {
		t.Errorf("the nodes are %+v", all)
	}
}

func TestTwoNodesMayNotHaveOneName(t *testing.T) {
	primary := postgrestest.Primary(t)
	url := primary.Database(t)
	db := openDatabase(t, url)
	first := join(t, db, "a", 1)
	first.run(t)
	_, err := db.Join(t.Context(), postgres.Node{Name: "a"}, func() uint64 { return 0 })
	if err == nil || !strings.Contains(err.Error(), "another node named a runs") {
		t.Fatalf("a second node joined: %v", err)
	}
	// After a clean stop the name is free at once.
	first.stop()
	<-first.ended
	killed := join(t, db, "a", 2)
	// A node that was killed is not seen. Its name is free when a lease would be.
	next := join(t, db, "a", 3)
	if all := nodes(t, db); len(all) != 1 || all[0].Position != 3 {
		t.Errorf("the nodes are %+v", all)
	}
	// If it was only stopped, it finds its name taken.
	killed.run(t)
	if err := <-killed.ended; !errors.Is(err, postgres.ErrNodeGone) {
		t.Errorf("it ended with %v", err)
	}
	next.run(t)
	next.stop()
	if err := <-next.ended; err != nil {
		t.Error(err)
	}
}
