package sqlite

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"konto/eventstore"
)

// metrics are about the latency of appends. They have no labels.
type metrics struct{ appends, syncs prometheus.Histogram }

func newMetrics() metrics {
	return metrics{appends: eventstore.AppendSeconds(), syncs: eventstore.SyncSeconds()}
}

// Register registers the metrics of appends.
func (l *Log) Register(with prometheus.Registerer) error {
	return errors.Join(with.Register(l.metrics.appends), with.Register(l.metrics.syncs))
}
