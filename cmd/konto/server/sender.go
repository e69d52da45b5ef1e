package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"konto/cmd/konto/datafolder"
	"konto/events"
	"konto/projections/deliveries"
	"konto/projections/webhook"
)

// SenderOptions are the flags about requests to third parties. The zero value allows only
// addresses of the public internet. A server uses its own flags, so these are not sent to it
// with a command.
type SenderOptions struct {
	ThirdPartyAllow   []netip.Prefix `name:"third-party-allow" placeholder:"CIDR" help:"Network that third parties may be in although it is private or loopback, and be told by http; may be repeated." json:"-"`
	ThirdPartyTimeout time.Duration  `name:"third-party-timeout" default:"15s" placeholder:"DURATION" help:"How long a third party may take to answer." json:"-"`
	PublicURL         string         `name:"public-url" placeholder:"URL" help:"Where third parties reach konto, and what security event tokens (risc) call it; the address of --http unless given, which will not do for risc when that is 0.0.0.0 or the like." json:"-"`
}

// Validate is called by the parser, so that a wrong value is wrong usage.
func (o *SenderOptions) Validate() error {
	if o.ThirdPartyTimeout < 0 {
		return errors.New("--third-party-timeout is not negative")
	}
	if o.PublicURL == "" {
		return nil
	}
	if u, err := url.Parse(o.PublicURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("--public-url is no http or https URL")
	}
	return nil
}

// CheckIssuer refuses to send a security event token without a server unless --public-url is
// given: nothing else tells the server's issuer.
func (o *SenderOptions) CheckIssuer(r *Running, party events.ThirdParty) error {
	if r == nil && o.PublicURL == "" && party.Format == events.FormatRISC {
		return errors.New("a security event token names its issuer: give the server's --public-url, or let a running server send it")
	}
	return nil
}

// ErrNoIssuer refuses security event tokens whose issuer would be an address that nobody can
// reach.
var ErrNoIssuer = errors.New("security event tokens (risc) name konto's URL as their issuer, and --http is on all addresses, which is none: start konto serve with --public-url")

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
