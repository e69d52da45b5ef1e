package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"konto/projections"
)

// Config configures New.
type Config struct {
	Head   func(context.Context) (uint64, error) // of the log; required
	Health func() []projections.Status           // of the followers; required
}

// Metrics is one registry.
type Metrics struct{ registry *prometheus.Registry }

// New makes a registry that tells of the Go runtime, the process, the log and
// its followers.
func New(cfg Config) *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &followers{cfg})
	return &Metrics{r}
}

// Registerer registers the metrics of other packages.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}

// followers collects the positions and states of the log and its followers when Prometheus asks.
type followers struct{ cfg Config }

var (
	headDesc     = prometheus.NewDesc("konto_log_head", "Position of the log's last event.", nil, nil)
	positionDesc = prometheus.NewDesc("konto_follower_position", "Position that a follower of the log has reached.", []string{"follower"}, nil)
	lagDesc      = prometheus.NewDesc("konto_follower_lag_events", "Events that a follower has not applied.", []string{"follower"}, nil)
	stateDesc    = prometheus.NewDesc("konto_follower_state", "1 for the state that a follower is in.", []string{"follower", "state"}, nil)
)

// headTime bounds the read of the log's head.
const headTime = time.Second

// Describe implements prometheus.Collector.
func (f *followers) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{headDesc, positionDesc, lagDesc, stateDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (f *followers) Collect(to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, value uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	all := f.cfg.Health() // first: asked afterwards, one could be beyond the head
	ctx, cancel := context.WithTimeout(context.Background(), headTime)
	defer cancel()
	head, err := f.cfg.Head(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(headDesc, err)
	} else {
		send(headDesc, head)
	}
	for _, s := range all {
		send(stateDesc, 1, s.Name, s.State)
		if s.State == projections.StateStandby {
			continue // another node's metrics have its position
		}
		send(positionDesc, s.Position, s.Name)
		if err == nil {
			send(lagDesc, max(head, s.Position)-s.Position, s.Name)
		}
	}
}
