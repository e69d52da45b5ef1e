package mail

import (
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/oklog/ulid/v2"
	gomail "github.com/wneessen/go-mail"

	"konto/events"
)

// confirmation is the mail with one code. It says nothing of the account but the address that it goes
// to, because that address may be somebody else's.
type confirmation struct {
	event         ulid.ULID
	from          *mail.Address
	to            string
	subject, body string
	requested     time.Time
}

// mailable returns an address with its domain as the A-label, so that the mail server needs no SMTPUTF8
// (RFC 6531) for the domain. The error means that there can be no such domain.
func mailable(address string) (string, error) {
	at := strings.LastIndexByte(address, '@') + 1
	if isASCII(address[at:]) {
		return address, nil
	}
	domain, err := events.ASCIIDomain(address[at:])
	return address[:at] + domain, err
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

// message returns the mail as an internet message (RFC 5322). The same confirmation always has the same
// Message-ID and date.
func (c *confirmation) message() (*gomail.Msg, error) {
	// Earlier builds accepted addresses that mail cannot transport. None of them may be read as another
	// address: a<b@c.se> is not a name with an address.
	to, err := mail.ParseAddress(c.to)
	if err != nil || to.Address != c.to {
		return nil, fmt.Errorf("%w: address cannot be written in a message", errUndeliverable)
	}
	if to.Address, err = mailable(c.to); err != nil {
		return nil, fmt.Errorf("%w: there can be no such domain", errUndeliverable)
	}
	m := gomail.NewMsg()
	m.FromMailAddress(c.from)
	m.SetAddrHeaderFromMailAddress(gomail.HeaderTo, to)
	_, domain, _ := strings.Cut(c.from.Address, "@")
	m.SetMessageIDWithValue(c.event.String() + "@" + domain)
	m.SetDateWithValue(c.requested)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office replies
	m.Subject(c.subject)
	m.SetBodyString(gomail.TypeTextPlain, c.body)
	return m, nil
}
