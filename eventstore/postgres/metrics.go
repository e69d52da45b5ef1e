package postgres

import (
	"github.com/prometheus/client_golang/prometheus"

	"konto/eventstore"
)

// metrics are what one node counts. They have no labels with personal data.
type metrics struct {
	appends  prometheus.Histogram
	turns    prometheus.Histogram // from the lock to the commit, seconds
	group    prometheus.Histogram // appends of a turn
	doubts   prometheus.Counter   // turns that were repeated because their outcome was unknown
	barriers prometheus.Histogram // each proves that what was committed before is durable
	leases   *prometheus.GaugeVec
}

func newMetrics() *metrics {
	return &metrics{
		appends: eventstore.AppendSeconds(), barriers: eventstore.SyncSeconds(),
		turns: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "konto_postgres_turn_seconds", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // to 4 s
			Help: "How long a turn of this node's appends took, from the lock to the local commit."}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "konto_postgres_turn_appends", Buckets: prometheus.ExponentialBuckets(1, 2, 11),
			Help: "Appends that one turn stored or refused."}),
		doubts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "konto_postgres_repeated_turns_total",
			Help: "Turns that were repeated because a connection broke or a standby was promoted."}),
		leases: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "konto_lease_held", Help: "1 for each lease that this node holds."}, []string{"lease"}),
	}
}

// Register registers the metrics of turns, barriers and leases.
func (db *Database) Register(with prometheus.Registerer) error {
	m := db.metrics
	for _, c := range []prometheus.Collector{m.appends, m.turns, m.group, m.doubts, m.barriers, m.leases} {
		if err := with.Register(c); err != nil {
			return err
		}
	}
	return nil
}
