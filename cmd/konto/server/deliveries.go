package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"konto/cmd/konto/control"
	"konto/cmd/konto/datafolder"
	kontohttp "konto/http"
	"konto/projections/deliveries"
)

// DeliveryOptions are the flags about deliveries to third parties and about metrics. The zero
// value has the usual schedule and no metrics.
type DeliveryOptions struct {
	ThirdPartyRetry       []time.Duration `name:"third-party-retry" default:"0s,5s,5m,30m,2h,5h,10h,14h,20h,24h" placeholder:"DELAYS" help:"Delay before each try to deliver an event, give or take a tenth."`
	ThirdPartyConcurrency int             `name:"third-party-concurrency" default:"16" placeholder:"N" help:"Requests that each third party gets at the same time at most; fewer while it asks for less."`
	Metrics               string          `name:"metrics" default:"off" placeholder:"ADDRESS|off" help:"Where to answer Prometheus at /metrics; off: nowhere."`
}

// Validate is called by Options.Validate.
func (o *DeliveryOptions) Validate() error {
	if err := deliveries.CheckSchedule(o.ThirdPartyRetry); err != nil {
		return fmt.Errorf("--third-party-retry: %w", err)
	}
	if o.ThirdPartyConcurrency < 1 || o.ThirdPartyConcurrency > 1000 {
		return errors.New("--third-party-concurrency is from 1 to 1000")
	}
	return nil
}

// deliver makes the deliveries to third parties and their sender.
func (s *Server) deliver() (err error) {
	h := s.folder
	o := s.config.SenderOptions
	if o.PublicURL == "" {
		o.PublicURL = s.URL()
	}
	if s.Sender, err = NewSender(h, o); err != nil {
		return err
	}
	s.Deliveries, err = deliveries.New(deliveries.Config{
		Store: h.Store, Records: h.Log, DB: h.DeliveryStore, Parties: h.Model, Registry: registry{h}, Sender: s.Sender,
		Schedule: s.config.ThirdPartyRetry, Concurrency: s.config.ThirdPartyConcurrency,
		Metrics: s.metrics.Registerer(), Log: s.log,
	})
	return err
}

// registry lets package deliveries run commands: packages below projections do not import
// commands.
type registry struct{ folder *datafolder.Folder }

// Disable implements deliveries.Registry.
func (r registry) Disable(ctx context.Context, id ulid.ULID, reason string) (uint64, error) {
	return r.folder.ThirdParties.Disable(ctx, datafolder.Itself(), id, reason)
}

// Checkpoint implements deliveries.Registry.
func (r registry) Checkpoint(ctx context.Context, id ulid.ULID, position uint64) (uint64, error) {
	return r.folder.ThirdParties.Checkpoint(ctx, datafolder.Itself(), id, position)
}

// openMetrics binds the address of the metrics, if there are to be any.
func (s *Server) openMetrics() (err error) {
	if s.config.Metrics == "" || s.config.Metrics == "off" {
		return nil
	}
	if s.metricsListener, err = net.Listen("tcp", s.config.Metrics); err != nil {
		return fmt.Errorf("cannot answer Prometheus on %s: %w", s.config.Metrics, bare(err))
	}
	s.log.Info("metrics are at http://" + s.metricsListener.Addr().String() + "/metrics")
	return nil
}

// answerMetrics answers Prometheus until ctx ends.
func (s *Server) answerMetrics(ctx context.Context, group *errgroup.Group) {
	if s.metricsListener != nil {
		group.Go(func() error {
			return control.ServeUntil(ctx, kontohttp.NewServer(s.metrics.Handler()), s.metricsListener)
		})
	}
}
