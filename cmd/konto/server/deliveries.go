package server

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/oklog/ulid/v2"

	"konto/cmd/konto/datafolder"
	"konto/events"
	"konto/projections/deliveries"
	"konto/projections/webhook"
)

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

// CheckIssuer refuses to send a security event token without a server if --public-url is not
// given: the issuer is not known otherwise.
func (o *SenderOptions) CheckIssuer(r *Running, party events.ThirdParty) error {
	if r == nil && o.PublicURL == "" && party.Format == events.FormatRISC {
		return errors.New("a security event token names its issuer: give the server's --public-url, or let a running server send it")
	}
	return nil
}

// ErrNoIssuer is the error for security event tokens whose issuer would be an address that
// nobody can reach.
var ErrNoIssuer = errors.New("security event tokens (risc) name konto's URL as their issuer, and --http listens on all addresses, which is not a URL: start konto serve with --public-url")

// checkIssuer refuses to start if a third party receives security event tokens and konto's URL
// is not known. Receivers store the issuer, so konto does not guess it.
func (s *Server) checkIssuer(ctx context.Context) error {
	at, ok := s.http.Addr().(*net.TCPAddr)
	if s.config.PublicURL != "" || !ok || !at.IP.IsUnspecified() {
		return nil
	}
	s.NoURL = true
	// Health and the log report an error: the read model cannot be written.
	_ = s.folder.CatchUpAlone(ctx)
	parties, err := s.folder.Model.ThirdParties(ctx)
	if err != nil {
		return err
	}
	for _, p := range parties {
		if p.Format == events.FormatRISC {
			return fmt.Errorf("third party %s: %w", p.Name, ErrNoIssuer)
		}
	}
	return nil
}

// NewSender returns the sender of requests to third parties.
func NewSender(folder *datafolder.Folder, o SenderOptions) (*webhook.Sender, error) {
	return webhook.NewSender(webhook.Config{
		Accounts: folder.Past,
		Notices:  folder.Erasures.Rows,
		Allow:    o.ThirdPartyAllow,
		Issuer:   o.PublicURL,
		Timeout:  o.ThirdPartyTimeout,
		TokenKey: webhook.TokenKey(folder.Keys.Derive),
	})
}

// SenderOr returns the server's sender, or a new one if no server runs.
func (r *Running) SenderOr(folder *datafolder.Folder, o SenderOptions) (*webhook.Sender, error) {
	if r != nil {
		return r.Sender, nil
	}
	return NewSender(folder, o)
}

// DeliveriesOr returns the server's deliveries. If no server runs, it returns new ones that
// can redeliver and are never run.
func (r *Running) DeliveriesOr(folder *datafolder.Folder, o SenderOptions) (*deliveries.Deliveries, error) {
	if r != nil {
		return r.Deliveries, nil
	}
	sender, err := NewSender(folder, o)
	if err != nil {
		return nil, err
	}
	return deliveries.New(deliveries.Config{
		Store: folder.Store, Records: folder.Log, DB: folder.DeliveryStore, Parties: folder.Model, Sender: sender,
	})
}
