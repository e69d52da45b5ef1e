package mail

import (
	"net"
	"net/textproto"
	"strings"
	"testing"
	"unicode"
)

// smtpServer is a small real SMTP server. Its answer to each recipient is the
// next of answers, and 250 once they are used up.
type smtpServer struct {
	url      string
	mails    chan string // what was accepted, envelope first
	answers  []string
	refusals chan string // answers that were given instead of accepting
	utf8     bool        // offers SMTPUTF8 (RFC 6531)
}

func newSMTPServer(t *testing.T, answers ...string) *smtpServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &smtpServer{url: "smtp://" + l.Addr().String(), mails: make(chan string, 10), answers: answers, refusals: make(chan string, 10)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for { // one connection at a time, as the reactor sends
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.serve(textproto.NewConn(conn))
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return s
}

func (s *smtpServer) serve(c *textproto.Conn) {
	defer c.Close()
	c.PrintfLine("220 test")
	var envelope []string
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "EHLO":
			c.PrintfLine("250-test")
			if s.utf8 {
				c.PrintfLine("250-SMTPUTF8")
			}
			c.PrintfLine("250 8BITMIME")
		case "RCPT":
			if strings.ContainsFunc(line, func(r rune) bool { return r > unicode.MaxASCII }) && !strings.Contains(envelope[0], "SMTPUTF8") {
				c.PrintfLine("553 5.6.7 the address is not ASCII")
				continue
			}
			if len(s.answers) > 0 {
				s.refusals <- s.answers[0]
				c.PrintfLine("%s", s.answers[0])
				s.answers = s.answers[1:]
				continue
			}
			envelope = append(envelope, line)
			c.PrintfLine("250 ok")
		case "MAIL":
			envelope = []string{line}
			c.PrintfLine("250 ok")
		case "DATA":
			c.PrintfLine("354 go on")
			text, err := c.ReadDotLines()
			if err != nil {
				return
			}
			s.mails <- strings.Join(append(envelope, text...), "\n")
			c.PrintfLine("250 taken")
		case "QUIT":
			c.PrintfLine("221 bye")
			return
		default:
			c.PrintfLine("250 ok")
		}
	}
}
