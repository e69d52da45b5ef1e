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

// letter is one code on its way. Of the account it says nothing but the address
// that it goes to, because that may be a stranger's.
type letter struct {
	event          ulid.ULID
	from           *mail.Address
	to             string
	language       string // BCP 47
	code           string
	asked, expires time.Time
}

// wording is what a letter says in one language. The body takes code and expiry.
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

// mailable is an address with its domain as the A-label, so that a mail server needs no
// SMTPUTF8 (RFC 6531) for the domain's sake. The error tells that there can be no such domain.
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

// message writes the letter as an internet message (RFC 5322). The same letter
// always has the same Message-ID and date.
func (l *letter) message() (*gomail.Msg, error) {
	// Earlier builds took more for an address than mail can carry, and nothing that only
	// looks like one may be read as another: a<b@c.se> is no name with an address.
	to, err := mail.ParseAddress(l.to)
	if err != nil || to.Address != l.to {
		return nil, fmt.Errorf("%w: address cannot be written in a message", errUndeliverable)
	}
	if to.Address, err = mailable(l.to); err != nil {
		return nil, fmt.Errorf("%w: there can be no such domain", errUndeliverable)
	}
	m := gomail.NewMsg()
	m.FromMailAddress(l.from)
	m.SetAddrHeaderFromMailAddress(gomail.HeaderTo, to)
	_, domain, _ := strings.Cut(l.from.Address, "@")
	m.SetMessageIDWithValue(l.event.String() + "@" + domain)
	m.SetDateWithValue(l.asked)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office replies
	words := wordingFor(l.language)
	m.Subject(words.subject)
	expires := l.expires.UTC().Format("2006-01-02 15:04 UTC")
	m.SetBodyString(gomail.TypeTextPlain, fmt.Sprintf(words.body, l.code, expires))
	return m, nil
}
