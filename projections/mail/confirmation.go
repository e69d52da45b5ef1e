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
	event              ulid.ULID
	from               *mail.Address
	to                 string
	language           string // BCP 47
	code               string
	requested, expires time.Time
}

// wording is the text in one language. The body is a format for code and expiry.
type wording struct{ subject, body string }

var english = wording{
	subject: "Your confirmation code",
	body: `Your code is %s.

Enter it where you asked to change your email address to this one. It is valid
until %s and works once.

Give the code to nobody: we never ask for it. If you did not ask for it, you need
to do nothing. Nothing changes without the code.
`,
}

var swedish = wording{
	subject: "Din bekräftelsekod",
	body: `Din kod är %s.

Ange den där du bad om att byta e-postadress till den här. Den gäller till
%s och kan användas en gång.

Ge inte koden till någon: vi frågar aldrig efter den. Om du inte har bett om den
behöver du inte göra något. Inget ändras utan koden.
`,
}

func wordingFor(language string) wording {
	if primary, _, _ := strings.Cut(strings.ToLower(language), "-"); primary == "sv" {
		return swedish
	}
	return english
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
	words := wordingFor(c.language)
	m.Subject(words.subject)
	expires := c.expires.UTC().Format("2006-01-02 15:04 UTC")
	m.SetBodyString(gomail.TypeTextPlain, fmt.Sprintf(words.body, c.code, expires))
	return m, nil
}
