package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konto/eventstore"
	"konto/eventstore/sqlitefile"
)

// unguarded drops the triggers that prevent accidents.
var unguarded = []string{
	"DROP TRIGGER events_are_never_updated",
	"DROP TRIGGER events_are_never_deleted",
	"DROP TRIGGER events_are_never_replaced",
}

func TestCheckChainFindsChanges(t *testing.T) {
	const records = 2*checkPage + 10 // so that the walk turns pages
	path := filepath.Join(t.TempDir(), "intact.db")
	log := open(t, path)
	for range records / 3 {
		mustAppend(t, log, newBatch(3))
	}
	if err := log.CheckChain(t.Context(), nil); err != nil {
		t.Fatalf("an intact log: %v", err)
	}
	log.Close()
	intact, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change string
		first  uint64
	}{
		"data, one bit":       {"UPDATE events SET data = CAST('E' || substr(data, 2) AS BLOB) WHERE position = 1500", 1500},
		"data, longer":        {"UPDATE events SET data = CAST(data || 'x' AS BLOB) WHERE position = 1", 1},
		"metadata":            {"UPDATE events SET metadata = x'7b207d' WHERE position = 1000", 1000},
		"type":                {"UPDATE events SET type = 'Tested.v2' WHERE position = 1001", 1001},
		"time":                {"UPDATE events SET time = time + 1 WHERE position = 7", 7},
		"id":                  {"UPDATE events SET id = (SELECT id FROM events WHERE position = 1) WHERE position = 8", 8},
		"an id of no length":  {"UPDATE events SET id = x'' WHERE position = 8", 8},
		"stream":              {"UPDATE events SET stream = 'account-0' WHERE position = 9", 9},
		"version":             {"UPDATE events SET version = 9 WHERE position = 9", 9},
		"hash":                {"UPDATE events SET hash = zeroblob(32) WHERE position = 10", 10},
		"the last record":     {"UPDATE events SET data = x'00' WHERE position = (SELECT max(position) FROM events)", records / 3 * 3},
		"a record removed":    {"DELETE FROM events WHERE position = 1200", 1200},
		"the first removed":   {"DELETE FROM events WHERE position = 1", 1},
		"a page removed":      {"DELETE FROM events WHERE position BETWEEN 500 AND 1700", 500},
		"positions moved":     {"UPDATE events SET position = position + 10000 WHERE position > 600", 601},
		"two payloads traded": {"UPDATE events SET data = (SELECT data FROM events WHERE position = 33 - e.position) FROM events e WHERE e.position = events.position AND events.position IN (13, 20)", 13},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log.db")
			if err := os.WriteFile(path, intact, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := raw(t, path, append(unguarded, test.change)...); err != nil {
				t.Fatal(err)
			}
			var broken *eventstore.ChainError
			if err := open(t, path).CheckChain(t.Context(), nil); !errors.As(err, &broken) || broken.Position != test.first {
				t.Errorf("%v, want a chain broken at %d", err, test.first)
			}
		})
	}
}

// TestCheckChainFindsWrongVersions writes records as a writer without version check would. Their
// hashes fit.
func TestCheckChainFindsWrongVersions(t *testing.T) {
	for name, versions := range map[string][]uint64{
		"a gap":        {1, 2, 4},
		"a late start": {1, 2, 0},
		"backwards":    {1, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			log := open(t, filepath.Join(t.TempDir(), "log.db"))
			mustAppend(t, log, newBatch(3))
			b := newBatch(3)
			tx, err := log.writer.db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			forged := log.writer.transaction(tx)
			for i, version := range versions {
				b.Records[i].Version = version
				if err := forged.store(&b.Records[i]); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			var broken *eventstore.ChainError
			if err := reopen(t, log).CheckChain(t.Context(), nil); !errors.As(err, &broken) || broken.Position < 4 {
				t.Errorf("%v, want a wrong version from position 4 on", err)
			}
		})
	}
}

// TestReadingDamagedPages damages the middle of a log, which Open does not read.
func TestReadingDamagedPages(t *testing.T) {
	const page = 4096
	path := filled(t, 500)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := len(content) / 2 / page * page; at < len(content)/2+2*page; at++ {
		content[at] = 0xff
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	log := open(t, path)
	_, err = log.ReadAll(t.Context(), 0, 1000)
	for call, err := range map[string]error{"read": err, "check": log.CheckChain(t.Context(), nil)} {
		if !errors.Is(err, sqlitefile.ErrMalformed) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", call, err)
		}
	}
	var broken *eventstore.ChainError
	if err := log.CheckChain(t.Context(), nil); !errors.As(err, &broken) || broken.Position < 2 || broken.Position > 500 {
		t.Errorf("%v does not name the first position that cannot be read", err)
	}
}

// TestChainContinuesAfterReopening expects one chain over groups, restarts and refusals.
func TestChainContinuesAfterReopening(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	var end [32]byte
	for range 3 {
		b := newBatch(2)
		mustAppend(t, log, b)
		if _, err := log.Append(t.Context(), b); !errors.Is(err, eventstore.ErrConflict) {
			t.Fatal(err)
		}
		log = reopen(t, log)
	}
	records, err := log.ReadAll(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		end = eventstore.ChainHash(end, r)
	}
	if log.writer.tip != (tip{position: 6, hash: end}) {
		t.Errorf("the chain ends at %d in %x, not in %x", log.writer.tip.position, log.writer.tip.hash, end)
	}
}
