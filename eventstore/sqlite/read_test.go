package sqlite

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"konto/events"
)

func TestNewestStreamsAreThoseOfTheCategory(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	for _, category := range []string{"account", "credential", "third-party", "third"} {
		for i := range 3 {
			for version := range uint64(2) { // a stream is listed once
				b := newBatch(1)
				b.Stream = events.Stream(fmt.Sprintf("%s-%026d", category, i))
				b.Expected, b.Records[0].Stream, b.Records[0].Version = version, b.Stream, version+1
				mustAppend(t, log, b)
			}
		}
	}
	for category, n := range map[string]int{"account": 2, "third-party": 9, "third": 3, "nothing": 0, "zzz": 0} {
		found, err := log.NewestStreams(t.Context(), category, n)
		if err != nil || len(found) != min(n, 3) {
			t.Errorf("%d streams of %s: %v, %v", n, category, found, err)
		}
		for i, stream := range found {
			if want := fmt.Sprintf("%s-%026d", category, 2-i); string(stream) != want {
				t.Errorf("%s instead of %s", stream, want)
			}
		}
	}
	// The query uses the index and does not read all records.
	rows, err := log.readers.Query("EXPLAIN QUERY PLAN SELECT max(stream) FROM events WHERE stream < 'b'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if !slices.ContainsFunc(plan, func(s string) bool { return strings.HasPrefix(s, "SEARCH events USING COVERING INDEX") }) {
		t.Errorf("plan %q", plan)
	}
}
