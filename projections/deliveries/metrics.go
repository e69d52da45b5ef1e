package deliveries

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"konto/events"
)

// The parts of metrics' names. The only label value that operators choose is a third
// party's name. No label has personal data.
const namespace, subsystem = "konto", "third_party"

// metrics are the metrics of deliveries.
type metrics struct {
	attempts *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	delay    *prometheus.HistogramVec
}

var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30}

func newMetrics(r prometheus.Registerer, d *Deliveries) (*metrics, error) {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "attempts_total",
			Help: "Requests made to a third party, by what came of them.",
		}, []string{"third_party", "outcome"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "request_seconds", Buckets: buckets,
			Help: "Time from a request to the head of its answer.",
		}, []string{"third_party"}),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "delay_seconds", Buckets: append([]float64{.001, .0025}, buckets...),
			Help: "Time from an event to the first request that tells of it.",
		}, []string{"third_party"}),
	}
	for _, c := range []prometheus.Collector{m.attempts, m.latency, m.delay, &gauges{d}} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// begin makes the counters of a third party, so that the first failure is an increase.
func (m *metrics) begin(party string) {
	for _, outcome := range []string{OutcomeDelivered, OutcomeRetrying, OutcomeFailed, OutcomeAborted, OutcomeSkipped} {
		m.attempts.WithLabelValues(party, outcome)
	}
}

// count counts an attempt.
func (m *metrics) count(party string, a *Attempt) {
	m.attempts.WithLabelValues(party, a.Outcome).Inc()
	m.latency.WithLabelValues(party).Observe(a.Latency.Seconds())
	if a.Number == 1 {
		m.delay.WithLabelValues(party).Observe(a.At.Sub(a.happened).Seconds())
	}
}

// delete deletes what was counted for a third party that was removed.
func (m *metrics) delete(name string) {
	of := prometheus.Labels{"third_party": name}
	m.attempts.DeletePartialMatch(of)
	m.latency.DeletePartialMatch(of)
	m.delay.DeletePartialMatch(of)
}

// gauges read Status when Prometheus asks.
type gauges struct{ d *Deliveries }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, append([]string{"third_party"}, labels...), nil)
}

var (
	stateGauge    = gauge("state", "1 for the state that a third party is in.", "state")
	lagGauge      = gauge("lag_events", "Events of the log that a third party's deliveries have not passed.")
	lanesGauge    = gauge("lanes", "Accounts with events to be told.")
	waitingGauge  = gauge("lanes_waiting", "Accounts whose next event waits for a retry.")
	inFlightGauge = gauge("requests_in_flight", "Requests under way.")
	limitGauge    = gauge("requests_limit", "Requests that may be under way; fewer when a third party asks for less.")
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{stateGauge, lagGauge, lanesGauge, waitingGauge, inFlightGauge, limitGauge} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, s := range g.d.Status() {
		if s.State == StateElsewhere { // that node's metrics tell
			continue
		}
		for _, state := range []string{events.ThirdPartyActive, events.ThirdPartyHeld, events.ThirdPartyFailed} {
			is := 0.0
			if s.State == state {
				is = 1
			}
			send(stateGauge, is, s.Name, state)
		}
		send(lagGauge, float64(s.Lag), s.Name)
		send(lanesGauge, float64(s.Accounts), s.Name)
		send(waitingGauge, float64(s.Waiting), s.Name)
		send(inFlightGauge, float64(s.InFlight), s.Name)
		send(limitGauge, float64(s.Limit), s.Name)
	}
}

// StateElsewhere is the state of an active third party to which another node may send.
const StateElsewhere = "held by another node"

// PartyStatus is how deliveries to one third party are doing. In StateElsewhere it has no numbers.
type PartyStatus struct {
	ID       ulid.ULID `json:"id"`
	Name     string    `json:"name"`
	State    string    `json:"state"`    // the third party's, or StateElsewhere
	Position uint64    `json:"position"` // up to here every event is done, or its account's row in the store waits
	Lag      uint64    `json:"lag"`      // events from there to the end of the log
	Accounts int       `json:"lanes"`    // accounts with events to be sent
	Waiting  int       `json:"waiting"`  // of them those that wait for a retry
	InFlight int       `json:"inFlight"` // requests under way
	Limit    int       `json:"limit"`    // of requests under way
	Error    string    `json:"error,omitzero"`
}

// Status returns the status of all third parties, by name. It is empty unless Run runs.
func (d *Deliveries) Status() []PartyStatus {
	head, _, _ := d.feed.watch()
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []PartyStatus
	for _, t := range d.parties {
		all = append(all, t.status(head))
	}
	slices.SortFunc(all, func(a, b PartyStatus) int { return strings.Compare(a.Name, b.Name) })
	return all
}
