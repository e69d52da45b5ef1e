package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// me is HostUp's account, the path of all targets. The bodies are HostUp's.
const me = "/api/v2/me"

// Target is an account, with a credential of its own.
type Target struct{ Token string }

// ReadTargets reads lines of a path, a tab and a bearer token.
func ReadTargets(from io.Reader) (all []Target, err error) {
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		path, token, ok := strings.Cut(lines.Text(), "\t")
		switch {
		case !ok || token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, fmt.Errorf("line %d is not a path, a tab and a token", n)
		case path != me:
			return nil, fmt.Errorf("line %d has another path than %s", n, me)
		}
		all = append(all, Target{Token: token})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("there is no target")
	}
	return all, nil
}

// WriteTargets is the reverse of ReadTargets.
func WriteTargets(to io.Writer, all []Target) error {
	w := bufio.NewWriter(to)
	for _, t := range all {
		fmt.Fprintf(w, "%s\t%s\n", me, t.Token)
	}
	return w.Flush()
}

// kind is a kind of request.
type kind struct {
	name string
	// render appends a whole request. n is another number for each.
	render func(to []byte, s Server, t Target, n uint64) []byte
	// special reports which requests change an email address. nil means none.
	special func(n uint64) bool
}

var (
	get   = kind{name: "GET", render: renderGet}
	patch = kind{name: "PATCH", render: renderPatch}
	// mixed is patch, except that one request in mixedEvery changes the email address, which third
	// parties receive.
	mixed = kind{name: "PATCH", render: renderMixed, special: changesEmail}
)

const mixedEvery = 10

func changesEmail(n uint64) bool { return n%mixedEvery == 0 }

// numbers makes sure that every update changes something: no request repeats a value of an earlier
// one, of any run. The numbers begin with the clock.
var numbers = beginning(uint64(time.Now().UnixMicro()))

func beginning(n uint64) *atomic.Uint64 {
	counter := new(atomic.Uint64)
	counter.Store(n)
	return counter
}

func head(to []byte, method, path string, s Server, t Target) []byte {
	to = append(append(append(to, method...), ' '), path...)
	to = append(append(to, " HTTP/1.1\r\nHost: "...), s.host...)
	return append(append(to, "\r\nAuthorization: Bearer "...), t.Token...)
}

func renderGet(to []byte, s Server, t Target, _ uint64) []byte {
	return append(head(to, "GET", me, s, t), "\r\n\r\n"...)
}

// The body of a PATCH is like that of a form, which sends all of its fields, one of them changed.
const (
	bodyBegin = `{"firstName":"Ada`
	bodyEnd   = `","lastName":"Lovelace","phoneNumber":"+46701234567","languageCode":"sv","companyName":"Analytical Engines Ltd",` +
		`"address":{"street":"Bahnhofstrasse 1","postalCode":"80010","city":"Stockholm","state":"Stockholm County"}}`
	emailBegin = `{"email":"ada`
	emailEnd   = `@bench.example.com"}`
)

func renderPatch(to []byte, s Server, t Target, n uint64) []byte {
	return withBody(head(to, "PATCH", me, s, t), bodyBegin, n, bodyEnd)
}

func renderMixed(to []byte, s Server, t Target, n uint64) []byte {
	if changesEmail(n) {
		return withBody(head(to, "PATCH", "/v1/account", s, t), emailBegin, n, emailEnd)
	}
	return renderPatch(to, s, t, n)
}

// withBody ends a request with a body that has a number in it, always of the same length.
func withBody(to []byte, begin string, n uint64, end string) []byte {
	const digits = 16
	to = append(to, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	to = strconv.AppendInt(to, int64(len(begin)+digits+len(end)), 10)
	to = append(append(to, "\r\n\r\n"...), begin...)
	text := strconv.FormatUint(n, 10)
	for range digits - len(text) {
		to = append(to, '0')
	}
	return append(append(to, text...), end...)
}
