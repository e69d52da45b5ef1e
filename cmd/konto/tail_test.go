package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// tailFromNow starts a tail and appends events until it prints one.
func tailFromNow(t *testing.T, folder string) *running {
	t.Helper()
	tail := start(t, "events", "tail", "--data", folder, "--json")
	for n := 0; tail.stdout.String() == ""; n++ {
		if t.Context().Err() != nil {
			t.Fatal("the tail prints nothing")
		}
		must(t, "account", "open", "--email", fmt.Sprintf("probe%d@example.com", n), "--data", folder)
	}
	return tail
}

func TestTailShowsOnlyNewEvents(t *testing.T) {
	withAndWithoutAServer(t, func(t *testing.T, folder string) {
		must(t, "account", "open", "--email", "before@example.com", "--data", folder)
		tail := tailFromNow(t, folder)
		must(t, "account", "open", "--email", "after@example.com", "--data", folder)
		tail.stdout.find(t, regexp.MustCompile(`after@example\.com`))
		if strings.Contains(tail.stdout.String(), "before@example.com") {
			t.Errorf("printed earlier events: %s", tail.stdout)
		}
	})
}

// Thousands of events in a few seconds, from many callers, reach the tail in order
// and without a gap.
func TestTailMissesNothingOfABusyLog(t *testing.T) {
	folder := t.TempDir()
	serve(t, folder)
	tail := tailFromNow(t, folder)
	if r := konto(t, "account", "import", tenThousand(t, "m"), "--data", folder); r.status != exitDone {
		t.Fatal(r.stderr)
	}
	must(t, "account", "open", "--email", "last@example.com", "--data", folder)
	tail.stdout.find(t, regexp.MustCompile(`last@example\.com.*\n`))
	var position float64
	n := 0
	for line := range strings.Lines(tail.stdout.String()) {
		at := object(t, line)["position"].(float64)
		if n > 0 && at != position+1 {
			t.Fatalf("position %v follows %v", at, position)
		}
		position = at
		n++
	}
	if n < 10_000 {
		t.Errorf("only %d events", n)
	}
}
