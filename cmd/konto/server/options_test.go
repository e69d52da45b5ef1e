package server

import (
	"strings"
	"testing"
	"time"
)

func TestDurationsInJSONAreSeconds(t *testing.T) {
	var text strings.Builder
	(&LogOptions{LogFormat: "json"}).Loggers(&text).Log.Info("stopped", "took", 1500*time.Millisecond)
	if !strings.Contains(text.String(), `"took":1.5}`) {
		t.Errorf("logged %s", text.String())
	}
}
