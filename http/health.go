package http

import (
	"net/http"

	"konto/projections"
)

type healthReport struct {
	Status    string               `json:"status"` // ok, degraded or failing
	Head      uint64               `json:"head"`   // the log's last position, which followers reach in time
	Followers []projections.Status `json:"followers"`
	// Components are the parts that depend on NATS, and the connection to it.
	Components []projections.Component `json:"components,omitzero"`
}

// health reports the state of the log, its followers and the components.
//
// degraded is a 200. While NATS is unreachable konto answers every request, and
// consumers lose nothing, because their events wait in the log. If a load balancer
// took konto out of service, that would only make it worse. A component that waits or
// retries is degraded for the same reason: its facts or codes wait too.
//
// failing is a 503: the log cannot be read, a follower retries, or a follower or
// component has stopped. Reads of accounts stay correct, but changes that the read
// model did not apply, such as the revocation of a key, are not in force.
func (x *exchange) health() error {
	// The followers are read first. Read afterwards, one could be beyond the head.
	report, status := healthReport{Status: "ok", Followers: x.Health(), Components: x.Components()}, http.StatusOK
	head, err := x.Reader.Store.Head(x.r.Context())
	failing := err != nil
	report.Head = head
	for _, f := range report.Followers {
		switch f.State {
		case projections.StateWaiting:
			report.Status = "degraded"
		case projections.StateRetrying, projections.StateStopped:
			failing = true
		}
	}
	for _, c := range report.Components {
		switch c.State {
		case projections.StateWaiting, projections.StateRetrying:
			report.Status = "degraded"
		case projections.StateStopped:
			failing = true
		}
	}
	if failing {
		report.Status, status = "failing", http.StatusServiceUnavailable
	}
	return x.answer(status, mediaJSON, report)
}
