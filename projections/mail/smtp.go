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

// relay sends mails to an SMTP server.
type relay struct {
	host    string
	options []gomail.Option
}

// newRelay parses an SMTP URL. Its errors never hold the URL, which may have a password.
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
	// Each mail is sent by a client of its own. This one only shows whether the options are right.
	if _, err := gomail.NewClient(r.host, r.options...); err != nil {
		return nil, fmt.Errorf("SMTP: %w", err)
	}
	return r, nil
}

// policy says whether a connection must be encrypted: always if a password goes to another machine,
// otherwise if the server offers it.
func policy(u *url.URL) gomail.TLSPolicy {
	ip := net.ParseIP(u.Hostname())
	if u.User == nil || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return gomail.TLSOpportunistic
	}
	return gomail.TLSMandatory
}

// send implements sender.
func (r *relay) send(ctx context.Context, c *confirmation) error {
	m, err := c.message()
	if err != nil {
		return err
	}
	options := r.options
	if to := m.GetToString(); isASCII(c.from.Address + strings.Join(to, "")) {
		// A server that accepts a mail as SMTPUTF8 must return it if the next server does not offer that.
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
	_ = client.Close() // Send has the server's answer already, or there will be none
	return translate(err)
}

// translate returns the server's answer without its text, which often quotes the address.
func translate(err error) error {
	var failed *gomail.SendError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &failed):
		return errors.New("SMTP server did not take the mail")
	case failed.ErrorCode() >= 500:
		return fmt.Errorf("%w: SMTP server answered %d", errUndeliverable, failed.ErrorCode())
	case failed.ErrorCode() >= 400:
		return fmt.Errorf("%w: %s, answer %d", errDeferred, failed.Reason, failed.ErrorCode())
	}
	return fmt.Errorf("SMTP server did not take the mail: %s, answer %d", failed.Reason, failed.ErrorCode())
}
