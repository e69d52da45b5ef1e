package natsserver

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/nats-io/nats-server/v2/server"

	"konto/projections/nats/subjects"
)

// Trouble tells that the server has stopped writing a stream, "" when it has not.
//
// After one failed write, nats-server 2.15 stores nothing more in the stream, and
// does not answer who publishes to it. It goes on so when there is room on the disk
// again, until it is started anew. Only its health check knows of it.
func (s *Server) Trouble() string {
	check, err := http.NewRequest(http.MethodGet, "/healthz?details=true&account="+server.DEFAULT_GLOBAL_ACCOUNT, nil)
	if err != nil {
		return err.Error()
	}
	var report body
	s.srv.HandleHealthz(&report, check)
	var health server.HealthStatus
	if err := json.Unmarshal(report.Bytes(), &health); err != nil {
		return "NATS does not tell how it is: " + err.Error()
	}
	for _, failed := range health.Errors {
		switch failed.Stream {
		case subjects.Stream, subjects.FactsStream, subjects.DeadLettersStream:
			return failed.Error + "; nothing is stored in it until you start konto again"
		}
	}
	return ""
}

// body is an answer over HTTP that stays in this process.
type body struct{ bytes.Buffer }

func (*body) Header() http.Header { return http.Header{} }
func (*body) WriteHeader(int)     {}
