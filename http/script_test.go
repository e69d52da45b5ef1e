package http

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"konto/commands"
	"konto/events"
)

// TestScripts runs the scripts in testdata. They are the contracts' tests, and can
// be read as their documentation.
// A script runs from top to bottom, with a harness of its own:
//
//	# a comment
//	account NAME {commands.Open}          an account; ${NAME.id} and ${NAME.payway} are its ids
//	facts NAME {events.FactsRecorded}     what other systems know of it
//	key NAME ACCOUNT SCOPE ...            an API key; ${NAME} is its token
//	client NAME SCOPE ...                 a client's token; ${NAME.credential} is its id, ${NAME.basic} both for HTTP Basic
//	session NAME MEMBER=VALUE ...         a session of account=, admin=, parent=, label=, type=, scopes= (by comma), roles=
//	revoke NAME                           revokes a credential
//	erase NAME                            erases an account
//	code NAME ACCOUNT                     ${NAME} is the code mailed for its pending change of address
//	serve OPTION=VALUE ...                serves with rate-limit=, origin=, body-timeout=, email-change-policy=,
//	                                      session-email-change= from now on
//	clock TIME                            the server's time from now on, or +DURATION; after serve
//	close-log                             makes every append fail
//	== TITLE                              begins a test
//	> LINE                                the request: its line, headers, an empty line, its body
//	< STATUS                              what the answer's status must be
//	< Name: value                         a header of it ("" for none)
//	< BODY                                all of its body, compared without white space; "*" is any string
//	~ TEXT                                a part of its compacted body
//	= NAME MEMBER                         ${NAME} is from now on what that member of the answer holds
//	+ TYPE DATA                           an event that the request stored, in order; "*" is any string
//
// Every request is checked against the OpenAPI documents and against the headers
// that all answers have. It must store exactly the events that its + lines name, or
// none if it has no such lines.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	shown := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			s := &script{harness: newHarness(t), t: t, shown: shown}
			s.run(string(text))
		})
	}
	t.Run("all documented answers", func(t *testing.T) { requireAllShown(t, shown) })
}

type script struct {
	*harness
	clock    clock
	closed   bool // the log is
	t        *testing.T
	title    string
	request  []string
	expected []string        // < lines
	parts    []string        // ~ lines
	stored   []string        // + lines
	kept     []string        // = lines
	shown    map[string]bool // documented answers that were seen
}

func (s *script) run(text string) {
	for line := range strings.Lines(text) {
		mark, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if mark == ">" && len(s.expected) > 0 {
			s.play()
		}
		switch mark {
		case ">":
			s.request = append(s.request, rest)
		case "<":
			s.expected = append(s.expected, rest)
		case "~":
			s.parts = append(s.parts, rest)
		case "=":
			s.kept = append(s.kept, rest)
		case "+":
			s.stored = append(s.stored, rest)
		case "", "#":
		default:
			s.play()
			s.directive(mark, rest)
		}
	}
	s.play()
}

func (s *script) directive(mark, rest string) {
	name, spec, _ := strings.Cut(rest, " ")
	switch mark {
	case "==":
		s.title = rest
	case "account":
		s.open(name, parse[commands.Open](s.t, spec))
	case "facts":
		_, err := s.accounts.Do(s.t.Context(), s.ids[name], events.Metadata{}, commands.RecordFacts{Facts: parse[events.FactsRecorded](s.t, spec)})
		s.must(err)
	case "key":
		account, scopes, _ := strings.Cut(spec, " ")
		s.key(name, events.KeyIssued{Account: s.ids[account], Scopes: strings.Fields(scopes)})
	case "client":
		s.key(name, events.KeyIssued{Client: name, Scopes: strings.Fields(spec)})
	case "session":
		s.session(name, s.sessionSpec(spec))
	case "revoke":
		position, err := s.credentials.Revoke(s.t.Context(), events.Metadata{}, s.ids[name])
		s.must(err)
		s.must(s.follower.WaitFor(s.t.Context(), position))
	case "serve":
		s.serve(rest)
	case "clock":
		s.setClock(rest)
	case "close-log":
		s.closeLog()
		s.closed = true
	case "code":
		s.words[name] = s.mailedCode(spec)
	case "erase":
		s.erase(name)
	default:
		s.t.Fatalf("script has a line that begins with %q", mark)
	}
}

func (s *script) sessionSpec(text string) (spec events.SessionOpened) {
	for _, field := range strings.Fields(text) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "account":
			spec.Account = s.ids[value]
		case "parent":
			spec.Parent = s.ids[value]
		case "admin":
			spec.Admin = value
		case "label":
			spec.Label = value
		case "type":
			spec.AuthType = value
		case "scopes":
			spec.Scopes = strings.Split(value, ",")
		case "roles":
			spec.Roles = strings.Split(value, ",")
		default:
			s.t.Fatalf("session has no %q", name)
		}
	}
	return spec
}

// play sends the request of the lines so far and checks its answer.
func (s *script) play() {
	request, expected, parts, stored, kept := s.request, s.expected, s.parts, s.stored, s.kept
	s.request, s.expected, s.parts, s.stored, s.kept = nil, nil, nil, nil, nil
	if len(request) == 0 {
		return
	}
	s.t.Run(s.title, func(t *testing.T) {
		before := uint64(0)
		if !s.closed {
			before = s.head()
		}
		answer, body := s.send(t, request)
		requireCommonHeaders(t, answer)
		s.requireAnswer(t, answer, body, expected)
		for _, part := range parts {
			if part = s.fill(part); !strings.Contains(body, part) {
				t.Errorf("answer lacks %s:\n%s", part, body)
			}
		}
		s.keep(t, body, kept)
		if !s.closed {
			s.requireStored(t, before, stored, answer.Header.Get("X-Request-Id"))
		}
	})
}

// keep stores members of an answer for later requests.
func (s *script) keep(t *testing.T, body string, kept []string) {
	if len(kept) == 0 {
		return
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatal(err)
	}
	for _, line := range kept {
		name, member, _ := strings.Cut(line, " ")
		s.words[name] = fmt.Sprint(members[member])
	}
}

func (s *script) send(t *testing.T, lines []string) (*http.Response, string) {
	head, rest := lines, ""
	for i, line := range lines {
		if line == "" {
			head, rest = lines[:i], strings.Join(lines[i+1:], "\n")
			break
		}
	}
	method, path, _ := strings.Cut(s.fill(head[0]), " ")
	sent := s.fill(rest)
	r, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+path, strings.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range head[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Content-Length" { // longer than the body, whose rest never comes
			stall(t, r, value)
			continue
		}
		r.Header.Add(name, s.fill(value))
	}
	answer, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Header.Get("Content-Encoding") == "gzip" && len(body) > 0 {
		body = gunzipped(t, body)
	}
	s.requireDocumented(t, &call{request: r, sent: sent, received: string(body), answer: answer})
	return answer, string(body)
}

var requestID = regexp.MustCompile(`\Areq_[0-9a-hjkmnp-tv-z]{26}\z`)

func requireCommonHeaders(t *testing.T, answer *http.Response) {
	t.Helper()
	if id := answer.Header.Get("X-Request-Id"); !requestID.MatchString(id) {
		t.Errorf("X-Request-Id is %q", id)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if challenged := answer.Header.Get("WWW-Authenticate") != ""; challenged != (answer.StatusCode == http.StatusUnauthorized) {
		t.Errorf("status %d with WWW-Authenticate %q", answer.StatusCode, answer.Header.Get("WWW-Authenticate"))
	}
}

var headerLine = regexp.MustCompile(`\A([A-Z][A-Za-z-]+): (.*)\z`)

func (s *script) requireAnswer(t *testing.T, answer *http.Response, body string, expected []string) {
	t.Helper()
	if status, _, _ := strings.Cut(answer.Status, " "); status != expected[0] {
		t.Errorf("status is %s, want %s: %s", status, expected[0], body)
	}
	var want strings.Builder
	for _, line := range expected[1:] {
		if m := headerLine.FindStringSubmatch(line); m != nil {
			if value := strings.Trim(m[2], " "); answer.Header.Get(m[1]) != strings.TrimPrefix(s.fill(value), "(none)") {
				t.Errorf("%s is %q, want %s", m[1], answer.Header.Get(m[1]), value)
			}
			continue
		}
		want.WriteString(line)
	}
	if want.Len() == 0 {
		return
	}
	compact := jsontext.Value(s.fill(want.String()))
	if err := compact.Compact(); err != nil {
		t.Fatalf("expected body: %v", err)
	}
	if !like(string(compact), body) {
		t.Errorf("answer is\n%s\nwant\n%s", body, compact)
	}
}

func (s *script) requireStored(t *testing.T, before uint64, want []string, requestID string) {
	t.Helper()
	var got []string
	for _, e := range s.since(before) {
		got = append(got, e.Type+" "+string(e.Data))
		if e.Metadata.RequestID != requestID {
			t.Errorf("event records request %q, not %q", e.Metadata.RequestID, requestID)
		}
	}
	if a, b := strings.Join(got, "\n"), s.fill(strings.Join(want, "\n")); !like(b, a) {
		t.Errorf("stored\n%s\nwant\n%s", a, b)
	}
}

// like compares a text with a pattern in which "*" is any string.
func like(pattern, text string) bool {
	pattern = strings.ReplaceAll(regexp.QuoteMeta(pattern), `"\*"`, `"[^"]*"`)
	return regexp.MustCompile(`\A` + pattern + `\z`).MatchString(text)
}

var word = regexp.MustCompile(`\$\{[a-z0-9.-]+\}`)

// fill replaces each ${...} of a text by its value.
func (s *script) fill(text string) string {
	return word.ReplaceAllStringFunc(text, func(name string) string {
		value, ok := s.words[name[2:len(name)-1]]
		if !ok {
			s.t.Fatalf("script uses %s, which nothing defines", name)
		}
		return value
	})
}
