package http

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// ask makes a request that needs no credential.
func ask(h http.Handler, method, path string, headers ...string) *http.Response {
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestDocumentsAreServedInBothEncodingsAndOnlyOnce(t *testing.T) {
	h := New(Config{})
	for path, media := range map[string]string{
		"/openapi/hostup.json": "application/json", "/openapi/payway.json": "application/json", "/openapi/generic.json": "application/json",
		"/asyncapi.json": "application/json", "/schemas/EmailChanged.v1.json": "application/json", "/schemas/AccountErased.v1.json": "application/json",
		"/docs": "text/html; charset=utf-8", "/docs/hostup": "text/html; charset=utf-8", "/docs/payway": "text/html; charset=utf-8", "/docs/generic": "text/html; charset=utf-8",
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
		if a, b := text(t, plain.Body), text(t, unzipped); a != b || a == "" {
			t.Errorf("%s: %d bytes, and %d with gzip", path, len(a), len(b))
		}
		tag := plain.Header.Get("ETag")
		again := ask(h, "GET", path, "If-None-Match", tag)
		if tag == "" || again.StatusCode != 304 || text(t, again.Body) != "" || again.Header.Get("Cache-Control") != "public, no-cache" {
			t.Errorf("%s again: %d %s", path, again.StatusCode, again.Header)
		}
		if other := ask(h, "GET", path, "If-None-Match", `W/"0000000000000000"`); other.StatusCode != 200 {
			t.Errorf("%s, of which the caller has another: %d", path, other.StatusCode)
		}
	}
}

func text(t *testing.T, r io.Reader) string {
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

func TestTheDocumentationNeedsNothingFromElsewhere(t *testing.T) {
	h := New(Config{})
	answer := ask(h, "GET", "/docs")
	page := text(t, answer.Body)
	links := linked.FindAllStringSubmatch(page, -1)
	if len(links) == 0 || inline.MatchString(page) {
		t.Errorf("%d links, or inline script: %s", len(links), page)
	}
	for _, link := range links {
		if status := ask(h, "GET", link[1]).StatusCode; link[1] != "data:," && status != 200 {
			t.Errorf("page refers to %s: %d", link[1], status)
		}
	}
	policy := answer.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; ") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "//") {
		t.Errorf("policy is %s", policy)
	}
}
