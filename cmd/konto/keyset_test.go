package main

import (
	"strings"
	"testing"
)

func TestServerShowsTheKeysOfItsSecurityEvents(t *testing.T) {
	folder := t.TempDir()
	var shown []string
	for range 2 { // a start does not change them
		server, url, _ := serve(t, folder)
		status, set := send(t, "GET", url+"/.well-known/jwks.json", "", "")
		if keys, _ := object(t, set)["keys"].([]any); status != 200 || len(keys) != 1 || strings.Contains(set, `"d"`) {
			t.Errorf("answered %d %s", status, set)
		}
		shown = append(shown, set)
		server.stop()
	}
	if shown[0] != shown[1] {
		t.Errorf("keys %s", shown)
	}
}
