package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	gomail "github.com/wneessen/go-mail"
)

// relay hands letters to an SMTP server.
type relay struct {
	host    string
	options []gomail.Option
}

// newRelay reads an SMTP URL. Its errors never hold the URL, which may have a password.
func newRelay(smtpURL string) (*relay, error) {
	u, err := url.Parse(smtpURL)
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return nil, errors.New("the SMTP URL must be smtp://user:password@host:port or smtps://user:password@host:port")
	}
	r := &relay{host: u.Hostname(), options: []gomail.Option{gomail.WithTimeout(sendTimeout)}}
	port := 587 // RFC 6409
	switch u.Scheme {
	case "smtps":
		port = 465 // RFC 8314
		r.options = append(r.options, gomail.WithSSL())
	case "smtp":
		r.options = append(r.options, gomail.WithTLSPolicy(policy(u)))
	default:
		return nil, errors.New("the SMTP URL must begin with smtp:// or smtps://")
	}
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil {
			return nil, errors.New("the SMTP URL's port is not a number")
		}
	}
	r.options = append(r.options, gomail.WithPort(port))
	if password, _ := u.User.Password(); u.User != nil {
		r.options = append(r.options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(u.User.Username()), gomail.WithPassword(password))
	}
	// The client is made per letter; made once here, it tells of wrong options.
	if _, err := gomail.NewClient(r.host, r.options...); err != nil {
		return nil, fmt.Errorf("SMTP: %w", err)
	}
	return r, nil
}

// policy is whether a connection must become encrypted: always when it carries
// a password to another machine, else when the server offers it.
func policy(u *url.URL) gomail.TLSPolicy {
	ip := net.ParseIP(u.Hostname())
	if u.User == nil || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return gomail.TLSOpportunistic
	}
	return gomail.TLSMandatory
}

// send implements sender.
func (r *relay) send(ctx context.Context, l *letter) error {
	m, err := l.message()
	if err != nil {
		return err
	}
	options := r.options
	if to := m.GetToString(); isASCII(l.from.Address + strings.Join(to, "")) {
		// A server that takes a letter as SMTPUTF8 must return it where the next one has none.
		options = append(slices.Clip(options), gomail.WithoutSMTPUTF8())
	}
	client, err := gomail.NewClient(r.host, options...)
	if err != nil {
		return fmt.Errorf("SMTP: %w", err)
	}
	if err := client.DialWithContext(ctx); err != nil {
		return fmt.Errorf("connect to the SMTP server: %w", err)
	}
	err = client.Send(m)
	_ = client.Close() // the server's answer to the letter has come, or will not
	return verdict(err)
}

// verdict translates the server's answer, whose text often quotes the address.
func verdict(err error) error {
	var failed *gomail.SendError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &failed):
		return errors.New("SMTP server did not take the letter")
	case failed.ErrorCode() >= 500:
		return fmt.Errorf("%w: SMTP server answered %d", errUndeliverable, failed.ErrorCode())
	case failed.ErrorCode() >= 400:
		return fmt.Errorf("%w: %s, answer %d", errPutOff, failed.Reason, failed.ErrorCode())
	}
	return fmt.Errorf("SMTP server did not take the letter: %s, answer %d", failed.Reason, failed.ErrorCode())
}
