package http

import (
	"net/http"

	"konto/projections"
)

type healthReport struct {
	Status    string               `json:"status"` // ok, or failing when a follower stopped
	Followers []projections.Status `json:"followers"`
}

// health reports how the log's followers are doing: 503 once one has stopped,
// because what it feeds will not catch up by itself.
func (x *exchange) health() error {
	report, status := healthReport{Status: "ok", Followers: x.Health()}, http.StatusOK
	for _, f := range report.Followers {
		if f.Stopped {
			report.Status, status = "failing", http.StatusServiceUnavailable
		}
	}
	return x.answer(status, mediaJSON, report)
}
