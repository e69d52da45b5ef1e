package natsserver

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"konto/projections/nats/subjects"
)

// healthEvery is for how long Trouble repeats its last answer. The health check lists folders, and
// costs as much as all else that GET /healthz does.
const healthEvery = 100 * time.Millisecond

// health is the last answer of Trouble.
type health struct {
	mu      sync.Mutex
	checked time.Time
	trouble string
}

// Trouble tells that the server has stopped writing a stream, "" when it has not.
func (s *Server) Trouble() string {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	if time.Since(s.health.checked) >= healthEvery {
		s.health.trouble, s.health.checked = s.unwritten(), time.Now()
	}
	return s.health.trouble
}

// unwritten says why a stream is not written any more.
//
// After one failed write, nats-server 2.15 stores nothing more in the stream, and
// does not answer who publishes to it. It goes on so when there is room on the disk
// again, until it is started anew. Only its health check knows of it.
func (s *Server) unwritten() string {
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
