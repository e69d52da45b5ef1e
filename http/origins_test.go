package http

import "testing"

func TestParseOrigin(t *testing.T) {
	for _, text := range []string{"https://app.example.com", "http://localhost:3000", "https://[::1]:8443"} {
		if got, err := ParseOrigin(text); got != text || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "*", "null", "app.example.com", "https://", "https://*.example.com", "https://app.example.com/",
		"https://App.example.com", "HTTPS://app.example.com", "ftp://app.example.com", "https://a@app.example.com", "https://app.example.com?q",
	} {
		if got, err := ParseOrigin(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestInvalidOriginPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a wildcard is taken")
		}
	}()
	New(Config{AllowedOrigins: []string{"*"}})
}
