package http

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ask sends a request without a credential.
func ask(h http.Handler, method, path string, headers ...string) *http.Response {
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestDocumentsAreServedInBothEncodingsAndRevalidated(t *testing.T) {
	h := New(Config{})
	for path, media := range map[string]string{
		"/openapi/hostup.json": "application/json", "/openapi/payway.json": "application/json", "/openapi/generic.json": "application/json", "/openapi/admin.json": "application/json",
		"/asyncapi.json": "application/json", "/schemas/EmailChanged.v1.json": "application/json", "/schemas/AccountErased.v1.json": "application/json",
		"/docs": "text/html; charset=utf-8", "/docs/": "text/html; charset=utf-8", "/docs/backup": "text/html; charset=utf-8", "/docs/guide.css": "text/css; charset=utf-8", "/docs/hostup": "text/html; charset=utf-8", "/docs/payway": "text/html; charset=utf-8", "/docs/generic": "text/html; charset=utf-8",
		"/docs/start.js": "text/javascript; charset=utf-8", "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
		"/docs/style.css": "text/css; charset=utf-8", "/docs/swagger-ui.css": "text/css; charset=utf-8",
	} {
		plain, zipped := ask(h, "GET", path), ask(h, "GET", path, "Accept-Encoding", "gzip")
		if plain.StatusCode != 200 || plain.Header.Get("Content-Type") != media || plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d %s", path, plain.StatusCode, plain.Header)
			continue
		}
		unzipped, err := gzip.NewReader(zipped.Body)
		if err != nil || zipped.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s with gzip: %v %s", path, err, zipped.Header)
			continue
		}
		if a, b := readAll(t, plain.Body), readAll(t, unzipped); a != b || a == "" {
			t.Errorf("%s: %d bytes, and %d with gzip", path, len(a), len(b))
		}
		tag := plain.Header.Get("ETag")
		again := ask(h, "GET", path, "If-None-Match", tag)
		if tag == "" || again.StatusCode != 304 || readAll(t, again.Body) != "" || again.Header.Get("Cache-Control") != "public, no-cache" {
			t.Errorf("%s again: %d %s", path, again.StatusCode, again.Header)
		}
		if other := ask(h, "GET", path, "If-None-Match", `W/"0000000000000000"`); other.StatusCode != 200 {
			t.Errorf("%s, of which the caller has another: %d", path, other.StatusCode)
		}
	}
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	linked = regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	inline = regexp.MustCompile(`<script>|<style|style=|onload=|onclick=|javascript:`)
)

func TestPagesNeedNothingFromElsewhere(t *testing.T) {
	h := New(Config{})
	pages := map[string]string{} // by path
	for _, path := range append(guidePaths(t), "/docs", "/docs/payway") {
		answer := ask(h, "GET", path)
		pages[path] = readAll(t, answer.Body)
		policy := answer.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; ") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "//") {
			t.Errorf("policy of %s is %s", path, policy)
		}
		if found := inline.FindString(pages[path]); found != "" {
			t.Errorf("%s has %s", path, found)
		}
	}
	for path, page := range pages {
		links := linked.FindAllStringSubmatch(page, -1)
		if len(links) == 0 {
			t.Errorf("%s has no links", path)
		}
		for _, link := range links {
			to, section, _ := strings.Cut(link[1], "#")
			if to != "data:," && ask(h, "GET", to).StatusCode != 200 || section != "" && !strings.Contains(pages[to], `id="`+section+`"`) {
				t.Errorf("%s links to %s, which is not there", path, link[1])
			}
		}
	}
}

func TestTheIndexNamesEveryGuide(t *testing.T) {
	index := readAll(t, ask(New(Config{}), "GET", "/docs/").Body)
	for _, path := range guidePaths(t) {
		if !strings.Contains(index, `href="`+path+`"`) {
			t.Errorf("the index does not name %s", path)
		}
	}
}

func TestGuidesAreRenderedFromMarkdown(t *testing.T) {
	page := readAll(t, ask(New(Config{}), "GET", "/docs/backup").Body)
	for _, part := range []string{"<title>konto: Backups</title>", "<h1", "<table>", `<pre><code class="language-sh">`} {
		if !strings.Contains(page, part) {
			t.Errorf("the guide to backups has no %s", part)
		}
	}
	if page, err := renderGuide([]byte("# T\n\n<script>alert(1)</script>\n")); err != nil || strings.Contains(string(page), "alert") {
		t.Errorf("HTML in a guide is not left out: %s, %v", page, err)
	}
}

// guidePaths lists where the files in docs are served.
func guidePaths(t *testing.T) (paths []string) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil || len(files) < 8 {
		t.Fatalf("guides: %s, %v", files, err)
	}
	for _, file := range files {
		paths = append(paths, servedAt(filepath.Base(file)))
	}
	return paths
}
