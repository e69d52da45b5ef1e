package http

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAcceptsJSON(t *testing.T) {
	for _, test := range []struct {
		accept []string
		want   bool
	}{
		{nil, true},
		{[]string{""}, true},
		{[]string{" , "}, true},
		{[]string{"application/json"}, true},
		{[]string{"APPLICATION/Json"}, true},
		{[]string{"text/html", "*/*;q=0.001"}, true},
		{[]string{"text/html;q=1, application/* ; Q=0.5"}, true},
		{[]string{"application/json;q=high"}, true},
		{[]string{"*/*;q=0, application/json"}, true},
		{[]string{"application/json;charset=utf-8;q=0"}, false},
		{[]string{"application/json;q=0, */*"}, false},
		{[]string{"application/*;q=0.0,*/*;q=1"}, false},
		{[]string{"application/json;q=NaN"}, false},
		{[]string{"application/problem+json"}, false},
		{[]string{"json"}, false},
	} {
		if got := acceptsJSON(test.accept); got != test.want {
			t.Errorf("%q: %t", test.accept, got)
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "gzip": true, "br, GZIP;q=0.1": true, "*": true, "identity": false, "gzip;q=0, *": false, "*;q=0": false,
	} {
		if got := acceptsGzip([]string{value}); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
}

func TestGzippedAnswerCanBeUnpacked(t *testing.T) {
	for size := range []int{0, 1, minGzip, maxBody} {
		data := bytes.Repeat([]byte("å"), size)
		if got := gunzipped(t, gzipped(data)); !bytes.Equal(got, data) {
			t.Errorf("%d bytes come back as %d", len(data), len(got))
		}
	}
}

func TestRequestIDOfTheCallerIsIgnored(t *testing.T) {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/account", nil)
	r.Header.Set("X-Request-Id", "req_01hxa3b4c5d6e7f8g9h0j1k2m3")
	New(Config{}).ServeHTTP(w, r)
	if got := w.Header().Values("X-Request-Id"); len(got) != 1 || got[0] == r.Header.Get("X-Request-Id") || !requestID.MatchString(got[0]) {
		t.Errorf("%q", got)
	}
}
