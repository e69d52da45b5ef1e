package http

import (
	"net/http"

	"konto/projections"
)

type healthReport struct {
	Status    string               `json:"status"` // ok, degraded or failing
	Head      uint64               `json:"head"`   // the log's last position, which the followers' are to reach
	Followers []projections.Status `json:"followers"`
	// Components are the parts that follow NATS, and the connection to it.
	Components []projections.Component `json:"components,omitzero"`
}

// health reports how the log and its followers are doing.
//
// degraded is a 200: while NATS is away konto answers every request, and
// consumers miss nothing because their events wait in the log. To take konto out
// of service for it would only make it worse.
//
// A component that waits or retries is degraded for the same reason: the facts and
// codes that it is to handle wait with it.
//
// failing is a 503: the log cannot be read, a follower retries, or a follower or
// component has stopped.
// Reads of accounts stay right, but what the read model does not hear of, such as
// a key that was revoked, does not hold.
func (x *exchange) health() error {
	// The followers come first: asked afterwards, one could be beyond the head.
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
