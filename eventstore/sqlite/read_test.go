package sqlite

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNewestStreamsAreFoundByTheIndex: the cost must not depend on the length of the log.
func TestNewestStreamsAreFoundByTheIndex(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
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
