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

// Config configures New. All fields are required.
type Config struct {
	Version    string                                // of konto
	Head       func(context.Context) (uint64, error) // of the log
	Health     func() []projections.Status           // of the followers
	Components func() []projections.Component
	// NotReady says for each reason why konto may take no updates whether it is one now.
	NotReady  func(context.Context) map[string]bool
	Connected func() bool // to NATS
	Queues    func(context.Context) (Queues, error)
	Folder    string                      // the data folder
	Backups   func() map[string]time.Time // when each kind of copy was last made; the zero time if never
}

// Metrics is one registry.
type Metrics struct{ registry *prometheus.Registry }

// New makes a registry that tells of the Go runtime, the process, the log, its followers and the
// server.
func New(cfg Config) *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &followers{cfg}, &state{cfg})
	return &Metrics{r}
}

// Registerer registers the metrics of other packages.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// Add registers the metrics of a part, if it has any.
func (m *Metrics) Add(part any) error {
	if p, ok := part.(interface {
		Register(with prometheus.Registerer) error
	}); ok {
		return p.Register(m.registry)
	}
	return nil
}

// Handler answers GET /metrics. A metric that cannot be found out is left out: while the log cannot
// be read, all others are what an operator needs.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
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
