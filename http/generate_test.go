package http

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// attempt is a request as text. Every part of it may be wrong.
type attempt struct {
	method, target string
	headers        []string // Name: value
	body           string
}

func (a *attempt) String() string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: konto\r\n%s\r\nContent-Length: %d\r\n\r\n%s",
		a.method, a.target, strings.Join(a.headers, "\r\n"), len(a.body), a.body)
}

// request parses the text as a server does. Its error means that net/http refuses
// such a request.
func (a *attempt) request() (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(a.String())))
	if err == nil {
		r.RemoteAddr = "192.0.2.1:1234"
	}
	return r, err
}

// generator makes requests by changing valid ones.
type generator struct {
	*rand.Rand
	accounts, clients []string // valid tokens
	ids               []string // Payway's
	routes            []route
}

// oneIn returns true once in n times.
func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

func (g *generator) attempt() *attempt {
	r := pick(g, g.routes...)
	a := &attempt{method: r.method, target: r.path}
	if r.method == http.MethodGet && strings.HasPrefix(r.path, "/external/") {
		a.target += "?" + g.query()
	}
	if g.oneIn(10) {
		a.method = pick(g, append(methods, "DELETE", "PURGE", "get", "CONNECT", "TRACE")...)
	}
	if g.oneIn(10) {
		a.target = pick(g, a.target+"/", "/", "//", a.target+"%2f", "/healthz", "/docs", "/openapi/hostup.json", a.target+"?a=%zz", "/api/v2/"+g.text(), "*")
	}
	a.headers = g.headers(r.path)
	if a.method != http.MethodGet && !g.oneIn(20) {
		a.body = g.body(a.method + " " + r.path)
	}
	return a
}

func (g *generator) query() string {
	return pick(g, "id="+pick(g, g.ids...), "email="+g.text(), "id="+g.text(), "social_security_number=850507-3412",
		"customer_number=1&id=2", "", "&&=&", "%", "x=1")
}

func (g *generator) headers(path string) []string {
	tokens := g.accounts
	if strings.HasPrefix(path, "/external/") != g.oneIn(30) {
		tokens = g.clients
	}
	headers := []string{"Authorization: Bearer " + pick(g, tokens...), "Content-Type: application/json"}
	if g.oneIn(10) {
		headers[0] = pick(g, "Authorization: Basic YTpi", "Authorization: Bearer", "Authorization: Bearer "+g.text(),
			"Cookie: hostup_session="+pick(g, tokens...), headers[0]+"x", "X-None: 1", headers[0]+"\r\n"+headers[0])
	}
	if g.oneIn(10) {
		headers[1] = pick(g, "Content-Type: text/plain", "Content-Type: application/json; charset=latin1", "Content-Type: ;",
			"Content-Type: application/x-www-form-urlencoded", "X-None: 2")
	}
	for _, name := range []string{
		"If-Match", "If-None-Match", "Idempotency-Key", "Accept", "Accept-Encoding", "Origin", "Sec-Fetch-Site",
		"Traceparent", "X-Request-Id", "Expect", "Access-Control-Request-Method",
	} {
		if g.oneIn(12) {
			headers = append(headers, name+": "+g.headerValue())
		}
	}
	return headers
}

func (g *generator) headerValue() string {
	return pick(g, "*", `"1"`, fmt.Sprintf(`"%d"`, g.IntN(50)), `W/"2"`, "", "gzip", "*/*;q=0", "application/json", "text/html", "null",
		"https://app.example.com", "cross-site", "100-continue", strings.Repeat(",", 500), g.text(), fmt.Sprint("key-", g.IntN(1000)))
}

// body changes some members of a valid body, and sometimes its bytes.
func (g *generator) body(route string) string {
	var members []member
	text := "grant_type=client_credentials&scope=" + g.text()
	for _, f := range forms {
		if f.route == route {
			members = f.members
			text = strings.NewReplacer("ID", pick(g, g.ids...), "NAME", fmt.Sprint("n", g.Uint64())).Replace(f.valid)
		}
	}
	var body map[string]any
	if json.Unmarshal([]byte(text), &body) == nil {
		// A good password costs as much as a thousand requests.
		for _, name := range []string{"password", "newPassword"} {
			if body[name] != nil && !g.oneIn(500) {
				body[name] = "short"
			}
		}
		if body["id"] != nil && g.oneIn(2) {
			body["atomic"] = false
		}
		for range g.IntN(4) {
			g.change(body, members)
		}
		data, _ := json.Marshal(body, jsontext.AllowInvalidUTF8(true))
		text = string(data)
	}
	if g.oneIn(10) && text != "" {
		at := g.IntN(len(text))
		text = text[:at] + pick(g, "", "\x00", "\xff", `"`, "{", "}", "[", ",", text, `\ud800`, strings.Repeat("[", 10_001), strings.Repeat(" ", maxBody)) + text[at+g.IntN(len(text)-at):]
	}
	return text
}

// change gives a member another value, or an object.
func (g *generator) change(body map[string]any, members []member) {
	if len(members) == 0 || g.oneIn(20) {
		body[g.text()] = g.value()
		return
	}
	m := pick(g, members...)
	inner, ok := body[m.name].(map[string]any)
	switch {
	case m.members != nil && ok:
		g.change(inner, m.members)
	case m.members != nil && !g.oneIn(5):
		inner = map[string]any{}
		g.change(inner, m.members)
		body[m.name] = inner
	case g.oneIn(10):
		delete(body, m.name)
	case strings.HasSuffix(strings.ToLower(m.name), "password"):
		body[m.name] = pick[any](g, "short", nil, 7)
	default:
		body[m.name] = g.value()
	}
}

func (g *generator) value() any {
	if g.oneIn(3) {
		return pick[any](g, nil, true, 7, -1.5e300, []any{}, map[string]any{}, []any{map[string]any{"a": nil}})
	}
	return g.text()
}

func (g *generator) text() string {
	return pick(g, "", " ", "Eva", "Åsa Öberg", "__UNSET__", "sv", "SE", "FI", "EUR", "Europe/Berlin", "private", "organisation",
		"+46734567890", "0734567890", "850507-3412", "19850507-3412", "556677-8899", "SE559999999901", "2024-02-29", "83145",
		fmt.Sprintf("a%d@example.com", g.IntN(1000)), "A@B.se", "a@b", "\u0000", "\u202e", "🦀", "%00", "../..", "123456",
		strings.Repeat("å", g.IntN(1100)), string(rune(g.IntN(0x10ffff))))
}
