package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"konto/eventstore/postgres"
	kontohttp "konto/http"
	"konto/projections"
	"konto/projections/metrics"
)

// Why a server takes no updates.
const (
	notStarted    = "starting"
	stopping      = "draining"
	notAppendable = "log"
	notReplicated = "replication" // of a log in Postgres, which answers
	behindOthers  = "behind"
)

// readiness says whether the server takes updates, and what an operator should look at.
func (s *Server) readiness(ctx context.Context) (r kontohttp.Readiness) {
	because := func(code, text string, args ...any) {
		r.Reasons = append(r.Reasons, kontohttp.Reason{Code: code, Text: fmt.Sprintf(text, args...)})
	}
	if s.draining.Load() {
		because(stopping, "It is about to end, and answers requests until then.")
	}
	select {
	case <-s.answering:
	default:
		because(notStarted, "It starts: the read model is at position %d of the log and catches up.", s.folder.Follower.Status().Position)
		return r
	}
	if s.folder.DB == nil {
		if err := s.tryAppend(ctx); err != nil {
			because(notAppendable, "The log cannot be appended to: %v.", err)
		}
	} else if head, err := s.folder.Store.Head(ctx); err != nil && !errors.Is(err, postgres.ErrNotReplicated) {
		because(notAppendable, "The log in Postgres does not answer: %v.", err)
	} else if err != nil {
		because(notReplicated, "No synchronous standby of Postgres confirms what is appended: %v.", err)
	} else if err := s.folder.WaitFor(ctx, head); err != nil {
		because(behindOthers, "This node does not have what the others have acknowledged: %v.", err)
	}
	r.Warnings = s.warnings()
	return r
}

// tryAppend appends what has no effect.
func (s *Server) tryAppend(ctx context.Context) error {
	return s.appends.ask(ctx, patience, func() error { return s.folder.Store.TryAppend(context.WithoutCancel(ctx)) })
}

// unreplicated is what an operator is told who gave --store-unreplicated.
const unreplicated = "Postgres runs without a synchronous standby, as --store-unreplicated allows: what was acknowledged is lost with its disk."

func (s *Server) unreplicated() bool { return s.folder.DB != nil && s.folder.DB.Unreplicated() }

// warnings tell what waits, retries or has stopped although updates are taken.
func (s *Server) warnings() (all []string) {
	warn := func(name, state, why string) {
		switch state {
		case projections.StateWaiting:
			all = append(all, fmt.Sprintf("%s waits for NATS. Nothing is lost. %s", name, why))
		case projections.StateRetrying:
			all = append(all, fmt.Sprintf("%s retries: %s", name, why))
		case projections.StateStopped:
			all = append(all, fmt.Sprintf("%s has stopped until konto is started again: %s", name, why))
		}
	}
	if s.unreplicated() {
		all = append(all, unreplicated)
	}
	for _, f := range s.statuses() {
		warn(f.Name, f.State, f.Error)
	}
	for _, c := range s.components() {
		warn(c.Name, c.State, c.Error)
		for _, text := range c.Warnings {
			all = append(all, c.Name+": "+text)
		}
	}
	return all
}

// metricsConfig is what the metrics ask for.
func (s *Server) metricsConfig() metrics.Config {
	return metrics.Config{
		Version: cmp.Or(s.config.Version, "unknown"),
		Head:    s.folder.Store.Head, Health: s.statuses, Components: s.components, Folder: s.folder.Path,
		NotReady: func(ctx context.Context) map[string]bool {
			reasons := map[string]bool{notStarted: false, stopping: false, notAppendable: false, notReplicated: false, behindOthers: false}
			for _, r := range s.readiness(ctx).Reasons {
				reasons[r.Code] = true
			}
			return reasons
		},
		Connected: func() bool { return s.Conn.Trouble() == "" },
		Queues: func(ctx context.Context) (q metrics.Queues, err error) {
			if q.Mail, err = s.codes.from.Waiting(ctx); err != nil {
				return q, err
			}
			q.Inbound, q.DeadLetters, err = s.Facts.Count(ctx)
			return q, err
		},
		Backups: func() map[string]time.Time {
			if s.folder.DB != nil { // Postgres is backed up by others
				return nil
			}
			return s.folder.LastBackups()
		},
	}
}

// askReady asks the server over HTTP, as its callers do, whether it takes updates. text is the
// answer's. If HTTP hangs, so does askReady, until ctx ends.
func (s *Server) askReady(ctx context.Context) (ready bool, text string, err error) {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+kontohttp.ReadyPath, nil)
	if err != nil {
		return false, "", err
	}
	client := &http.Client{Transport: &http.Transport{ // without a proxy
		DisableKeepAlives: true,
		// konto asks itself at an address that its certificate does not name.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	answer, err := client.Do(ask)
	if err != nil {
		return false, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode == http.StatusOK, strings.TrimSpace(string(body)), err
}
