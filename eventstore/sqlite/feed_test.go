package sqlite

import (
	"bytes"
	"path/filepath"
	"testing"

	"konto/eventstore"
)

// emptied deletes all records from the file of an open log, so that it reads only from memory.
func emptied(t *testing.T, log *Log) {
	t.Helper()
	if err := raw(t, log.path, append(unguarded, "DELETE FROM events")...); err != nil {
		t.Fatal(err)
	}
}

func TestFeedReadsTheLastRecordsFromMemory(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	const total = feedRecords + 10
	for range total / 10 {
		mustAppend(t, log, newBatch(10))
	}
	mustAppend(t, log, newBatch(total%10))
	want := mustReadAll(t, log) // the first records come from the file
	if len(want) != total {
		t.Fatalf("%d records, want %d", len(want), total)
	}
	emptied(t, log)
	for after, n := range map[uint64]int{10: total - 10, total - 5: 5, total: 0, 9: 0} {
		got, err := log.ReadAll(t.Context(), after, total)
		if err != nil || len(got) != n {
			t.Fatalf("%d records after %d, %v; want %d", len(got), after, err, n)
		}
		for i, r := range got {
			if w := want[int(after)+i]; r.Position != w.Position || r.ID != w.ID || !bytes.Equal(r.Data, w.Data) {
				t.Fatalf("record %d after %d is at position %d", i, after, r.Position)
			}
		}
	}
}

func TestFeedReadsRecordsThatAreNotInMemoryFromTheFile(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	mustAppend(t, log, newBatch(3))
	large := newBatch(1)
	large.Records[0].Data = make([]byte, feedData)
	mustAppend(t, log, large)
	mustAppend(t, log, newBatch(3))
	for _, limit := range []int{1, 3, 4, 5, 7, 100} {
		for after := uint64(0); after < 7; {
			page, err := log.ReadAll(t.Context(), after, limit)
			if err != nil || len(page) != min(limit, 7-int(after)) {
				t.Fatalf("%d records after %d with limit %d, %v", len(page), after, limit, err)
			}
			for _, r := range page {
				if after++; r.Position != after {
					t.Fatalf("position %d is read as %d", after, r.Position)
				}
			}
		}
	}
	emptied(t, log)
	if page, err := log.ReadAll(t.Context(), 0, 100); err != nil || len(page) != 3 {
		t.Errorf("%d records before the large one, %v", len(page), err)
	}
}

func mustReadAll(t *testing.T, log *Log) []eventstore.Record {
	t.Helper()
	all, err := log.ReadAll(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
