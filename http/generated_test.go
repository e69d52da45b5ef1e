package http

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"konto/commands"
	"konto/events"
)

// target is the harness that receives generated requests.
type target struct {
	*harness
	handler http.Handler
}

func newTarget(t testing.TB) *target {
	h := newHarness(t)
	for i, name := range []string{"anna", "bo"} {
		id := h.open(name, commands.Open{Email: name + "@example.com", PaywayID: fmt.Sprintf("%024x", i), Administrator: name == "bo"})
		h.key(name+"-key", events.KeyIssued{Account: id, Scopes: []string{"read:account", "write:account"}})
		h.session(name+"-session", events.SessionOpened{Account: id, Scopes: []string{"read:account", "write:account"}})
	}
	h.key("biller", events.KeyIssued{Account: h.ids["anna"], Scopes: []string{"read:billing"}})
	h.key("client", events.KeyIssued{Client: "adeprimo", Scopes: []string{"/external/account/r", "/external/account/w"}})
	cfg := h.cfg
	cfg.RateLimit, cfg.AllowedOrigins = RateLimit{PerMinute: 10_000_000}, []string{"https://app.example.com"}
	return &target{h, New(cfg)}
}

func (h *target) generator(seed uint64) *generator {
	return &generator{
		Rand: rand.New(rand.NewPCG(seed, 0)), routes: routes(),
		accounts: []string{h.words["anna-key"], h.words["bo-key"], h.words["anna-session"], h.words["anna-key"], h.words["biller"]},
		clients:  []string{h.words["client"]},
		ids:      []string{h.words["anna.payway"], h.words["anna.payway"], h.words["bo.payway"], "50f3ac249f6aef294d000007"},
	}
}

// storedByAWrongCode is all that refused requests store: tries are counted, and the
// last one ends the change.
var storedByAWrongCode = []string{"EmailChangeAttemptFailed.v1", "EmailChangeCancelled.v1"}

// hit sends a request and returns what is wrong with the answer.
func (h *target) hit(r *http.Request) (status int, wrong string) {
	before := h.head()
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if w.Code >= 500 {
		return w.Code, "it is answered as our own failure"
	}
	if h.log.String() != "" {
		return w.Code, "it is logged as a failure: " + h.log.String()
	}
	media := w.Header().Get("Content-Type")
	if strings.HasSuffix(media, "json") && w.Header().Get("Content-Encoding") == "" && !jsontext.Value(w.Body.String()).IsValid() {
		return w.Code, "the answer is not JSON: " + w.Body.String()
	}
	if w.Code < 400 && r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
		return w.Code, ""
	}
	if h.head() == before {
		return w.Code, ""
	}
	for _, e := range h.since(before) {
		if !strings.Contains(r.URL.Path, "/confirm-email") || !slices.Contains(storedByAWrongCode, e.Type) {
			return w.Code, "it is refused, and stores " + e.Type
		}
	}
	return w.Code, ""
}

// TestGeneratedRequests sends many odd requests. None makes konto fail, a refused
// request stores nothing, and memory does not grow.
func TestGeneratedRequests(t *testing.T) {
	h := newTarget(t)
	g := h.generator(1)
	statuses, memory := map[int]int{}, uint64(0)
	for i := range generatedRequests {
		a := g.attempt()
		r, err := a.request()
		if err != nil {
			statuses[0]++ // net/http's own 400
			continue
		}
		status, wrong := h.hit(r)
		if wrong != "" {
			t.Fatalf("request %d: %d, %s\n%.2000q", i, status, wrong, a)
		}
		statuses[status]++
		if i == generatedRequests/4 {
			memory = heap()
		}
	}
	t.Logf("statuses: %v", statuses)
	if after := heap(); after > memory+16<<20 {
		t.Errorf("heap grew from %d to %d bytes", memory, after)
	}
	for _, status := range []int{0, 200, 204, 207, 304, 400, 401, 403, 404, 405, 406, 412, 413, 415} {
		if statuses[status] == 0 {
			t.Errorf("no request was answered with %d: the generator misses something", status)
		}
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// FuzzRequests starts from the requests of the scripts. ${NAME} in a request
// stands for a valid token.
func FuzzRequests(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, lines := range requestsOf(string(text)) {
			head, body, _ := strings.Cut(strings.Join(lines, "\n"), "\n\n")
			line, headers, _ := strings.Cut(head, "\n")
			method, path, _ := strings.Cut(line, " ")
			f.Add(method, path, headers, body)
		}
	}
	h := newTarget(f)
	f.Fuzz(func(t *testing.T, method, path, headers, body string) {
		token := h.words["anna-key"]
		if strings.HasPrefix(path, "/external/") {
			token = h.words["client"]
		}
		headers = word.ReplaceAllString(headers, token)
		a := &attempt{method, path, strings.Split(headers, "\n"), body}
		r, err := a.request()
		if err != nil {
			return
		}
		inside := *h.harness // f's helpers must not be called in here
		inside.t = t
		if status, wrong := (&target{&inside, h.handler}).hit(r); wrong != "" {
			t.Errorf("%d, %s", status, wrong)
		}
	})
}

// requestsOf lists the requests of a script, each as its lines.
func requestsOf(text string) (requests [][]string) {
	var lines []string
	for line := range strings.Lines(text) {
		mark, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch {
		case mark == ">":
			lines = append(lines, rest)
		case len(lines) > 0:
			requests = append(requests, lines)
			lines = nil
		}
	}
	return requests
}
