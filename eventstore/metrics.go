package eventstore

import "github.com/prometheus/client_golang/prometheus"

// logBuckets are from an append that shares a commit on a fast disk up to a failover, in seconds.
var logBuckets = prometheus.ExponentialBuckets(0.0001, 2, 18) // to 13 s

// AppendSeconds makes the metric of how long appends take. Every backend has it.
func AppendSeconds() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "konto_log_append_duration_seconds", Buckets: logBuckets,
		Help: "Time from a call that appends to the log to its answer.",
	})
}

// SyncSeconds makes the metric of how long it takes until what was written is durable. Every backend
// has it.
func SyncSeconds() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "konto_log_sync_duration_seconds", Buckets: logBuckets,
		Help: "Time until a group of appends is durable: of a commit in SQLite, with its sync, or until a synchronous standby of Postgres has confirmed it.",
	})
}
