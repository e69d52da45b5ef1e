//go:build servers

package nats

import (
	"context"
	"regexp"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"konto/projections/nats/subjects"
	"konto/projections/natstest"
)

// clustered returns a fixture whose server is a cluster, and the cluster.
func clustered(t *testing.T) (*fixture, *natstest.Cluster) {
	t.Helper()
	cluster := natstest.Start(t, map[string]string{"KONTO_NATS_ISSUER": natstest.NoIssuer})
	r := newFixture(t)
	r.conn = r.dial(cluster.URL("konto:konto@"))
	return r, cluster
}

func (r *fixture) dial(url string) *Conn {
	r.t.Helper()
	conn, err := Dial(DialConfig{URL: url, Log: quiet})
	must(r.t, err)
	r.t.Cleanup(conn.Close)
	return conn
}

// administer returns JetStream for an operator.
func administer(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := natsgo.Connect(url)
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	return js
}

// replicasOf returns how many replicas a stream has.
func (r *fixture) replicasOf(stream string) int {
	r.t.Helper()
	s, err := r.conn.js.Stream(r.t.Context(), stream)
	must(r.t, err)
	return s.CachedInfo().Config.Replicas
}

func TestStreamsHaveThreeReplicasInACluster(t *testing.T) {
	r, cluster := clustered(t)
	operator := administer(t, cluster.URL("konto:konto@"))
	// An operator made two of the streams before konto did.
	for name, replicas := range map[string]int{subjects.Stream: 1, subjects.DeadLettersStream: 2} {
		_, err := operator.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{"other." + name}, Replicas: replicas})
		must(t, err)
	}
	r.account(3)
	r.follow(r.publisher())
	inbound := NewInbound(r.conn, nil, quiet)
	must(t, inbound.Open(t.Context()))
	for stream, want := range map[string]int{subjects.Stream: 3, subjects.FactsStream: 3, subjects.DeadLettersStream: 2} {
		if got := r.replicasOf(stream); got != want {
			t.Errorf("%s has %d replicas, want %d", stream, got, want)
		}
	}
	if _, err := inbound.Subscriber().Subscribe(t.Context(), subjects.Inbound); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		durable, err := r.conn.js.Consumer(t.Context(), subjects.FactsStream, subjects.FactsDurable)
		return err == nil && durable.CachedInfo().Cluster != nil && len(durable.CachedInfo().Cluster.Replicas) == 2
	})
	r.holds(r.published(0))
}

// A third server joins later.
func TestStreamsHaveOneReplicaInAClusterOfTwo(t *testing.T) {
	r := newFixture(t)
	ofTwo := regexp.MustCompile(`"nats://.*@nats-3:6222"`).ReplaceAllString(natstest.Config, "")
	cluster := natstest.New(t, ofTwo, map[string]string{"KONTO_NATS_ISSUER": natstest.NoIssuer})
	for _, s := range cluster.Servers[:2] {
		s.Start(t)
	}
	for _, s := range cluster.Servers[:2] {
		s.Ready(t)
	}
	all := r.dial(cluster.URL("konto:konto@")) // its URL names three
	ctx, cancel := context.WithTimeout(t.Context(), 4*retryDelay)
	defer cancel()
	r.conn = all
	waiting := r.publisher()
	if err := waiting.Open(ctx); err == nil {
		t.Errorf("a stream was made with %d replicas while a server of the cluster is missing", r.replicasOf(subjects.Stream))
	}
	r.conn = r.dial(cluster.Servers[0].URL("konto:konto@"))
	r.account(3)
	r.follow(r.publisher())
	if got := r.replicasOf(subjects.Stream); got != 1 {
		t.Errorf("it has %d replicas", got)
	}

	cluster.Servers[2].Start(t)
	cluster.Servers[2].Ready(t)
	r.conn = r.dial(cluster.Servers[0].URL("konto:konto@")) // konto is started again
	eventually(t, func() bool {
		must(t, r.publisher().Open(t.Context()))
		return r.replicasOf(subjects.Stream) == 3
	})
	r.holds(r.published(0))
}

func TestServerAloneGivesStreamsOneReplica(t *testing.T) {
	r := newFixture(t)
	outside := outsideServer(t, "127.0.0.1:0", r.dir)
	r.conn = r.dial("nats://" + outside.Addr().String())
	r.account(3)
	for range 2 { // it makes the stream, and finds it
		r.follow(r.publisher())
		if got := r.replicasOf(subjects.Stream); got != 1 {
			t.Errorf("it has %d replicas", got)
		}
	}
	if warnings := r.conn.Warnings(); len(warnings) > 0 {
		t.Errorf("warnings %q", warnings)
	}
}

// The leader of the stream is killed while events are published, and comes back.
func TestEachEventIsPublishedOnceAlthoughTheLeaderIsKilled(t *testing.T) {
	r, cluster := clustered(t)
	p := r.publisher()
	must(t, p.Open(t.Context()))
	for range 2 {
		leader := cluster.Named(t, r.stream().CachedInfo().Cluster.Leader)
		published := make(chan struct{})
		done := make(chan struct{})
		position, err := p.Position(t.Context())
		must(t, err)
		for range 20 {
			r.account(50)
		}
		go func() {
			defer close(done)
			for at, n := position, 0; n < 20; n++ {
				batch, err := r.store.ReadAll(t.Context(), at, 50)
				if err == nil {
					err = p.Apply(t.Context(), batch)
				}
				if err != nil {
					t.Errorf("Apply returned %v", err)
					return
				}
				if at = batch[len(batch)-1].Position; n == 5 {
					close(published)
				}
			}
		}()
		<-published
		leader.Kill(t)
		<-done
		leader.Start(t)
		leader.Ready(t)
	}
	r.holds(r.published(0))
}
