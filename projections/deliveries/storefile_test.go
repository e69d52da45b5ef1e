package deliveries

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"konto/events"
	"konto/eventstore/memory"
	"konto/eventstore/sqlitefile"
)

func TestStoreOfAnotherHistoryIsEmptied(t *testing.T) {
	told := map[string]func(b *storeHarness, party ulid.ULID, e events.Event){
		"by an attempt": func(b *storeHarness, party ulid.ULID, e events.Event) {
			b.save(result{Party: party, Attempt: b.result(party, e, OutcomeDelivered, "").Attempt})
		},
		"by a delivery": func(b *storeHarness, party ulid.ULID, e events.Event) {
			b.save(result{Party: party, Delivery: b.result(party, e, OutcomeDelivered, "").Delivery})
		},
		"by a position": func(b *storeHarness, party ulid.ULID, e events.Event) {
			b.must(b.SetPosition(b.t.Context(), party, e.Position))
		},
		"and rewound": func(b *storeHarness, party ulid.ULID, e events.Event) {
			b.must(b.SetPosition(b.t.Context(), party, e.Position))
			b.save(b.result(party, e, OutcomeDelivered, ""))
			b.must(b.Rewind(b.t.Context(), party, 1))
		},
	}
	for name, tell := range told {
		for other, grows := range map[string]int{"longer": 9, "as long": 3, "shorter": 1, "empty": 0} {
			t.Run(name+", "+other, func(t *testing.T) {
				b := newStoreHarness(t)
				party := ulid.Make()
				b.happen()
				b.happen()
				e := b.happen()
				tell(b, party, e)
				b.reopen()
				if b.position(party) == -1 && len(b.attempts(Filter{})) == 0 && b.delivery(party, account(e)) == (Delivery{}) {
					t.Fatal("the store of this history was emptied")
				}
				b.log = memory.New()
				b.config.Log = b.log
				for range grows {
					b.happen()
				}
				b.reopen()
				if b.position(party) != -1 || len(b.attempts(Filter{})) != 0 || b.delivery(party, account(e)) != (Delivery{}) {
					t.Error("what was sent of another history is still there")
				}
			})
		}
	}
}

func TestStoreOfAnotherKeyringIsEmptied(t *testing.T) {
	b := newStoreHarness(t)
	party := ulid.Make()
	b.must(b.SetPosition(t.Context(), party, b.happen().Position))
	b.config.Keys = b.openKeys("other.db")
	b.reopen()
	if got := b.position(party); got != -1 {
		t.Errorf("position %d", got)
	}
}

func TestForeignFilesAreNotChanged(t *testing.T) {
	for name, c := range map[string]struct {
		make func(b *storeHarness)
		says string
	}{
		"malformed": {func(b *storeHarness) {
			b.must(os.WriteFile(b.config.Path, []byte(strings.Repeat("no database ", 1000)), 0o600))
		}, "delete the file: deliveries go on from the last checkpoints"},
		"another program's": {func(b *storeHarness) {
			db, err := sqlitefile.OpenWriter(b.config.Path)
			b.must(err)
			_, err = db.Exec("CREATE TABLE theirs (a)")
			b.must(err)
			b.must(db.Close())
		}, "another program's"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newStoreHarness(t)
			b.must(b.Close())
			b.must(os.Remove(b.config.Path))
			c.make(b)
			before := b.file()
			_, err := OpenFile(t.Context(), b.config)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), b.config.Path) {
				t.Errorf("%v", err)
			}
			if !bytes.Equal(before, b.file()) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestOpenFileRejectsIncompleteConfigurations(t *testing.T) {
	b := newStoreHarness(t)
	for name, spoil := range map[string]func(*FileConfig){
		"path":     func(c *FileConfig) { c.Path = "" },
		"log":      func(c *FileConfig) { c.Log = nil },
		"keys":     func(c *FileConfig) { c.Keys = nil },
		"attempts": func(c *FileConfig) { c.MaxAttempts = -1 },
		"age":      func(c *FileConfig) { c.MaxAge = -1 },
	} {
		config := b.config
		spoil(&config)
		if _, err := OpenFile(t.Context(), config); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestErrorsNameTheFileButNotTheAnswer(t *testing.T) {
	b := newStoreHarness(t)
	s := b.result(ulid.Make(), b.happen(), OutcomeDelivered, "canary")
	b.must(b.Close())
	err := b.store(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), b.config.Path) || strings.Contains(fmt.Sprint(err), "canary") {
		t.Errorf("%v", err)
	}
}

// Files of earlier builds are checked against the text of these statements, comments inside of
// them included. When it has to change, raise schemaNumber.
func TestTablesAreThoseOfTheSchemaNumber(t *testing.T) {
	b := newStoreHarness(t)
	var statements string
	b.must(b.sqlite.readers.QueryRow(`SELECT group_concat(sql, ';') FROM
		(SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name <> 'progress' ORDER BY name)`).Scan(&statements))
	if got := fmt.Sprintf("%d %x", schemaNumber, sha256.Sum256([]byte(statements))); got != "3 12f0e96d9e8841390f4c5ebf7805c1d71793faa7dce0e079e7d6fb9bcfa3b891" {
		t.Errorf("schema %s", got)
	}
}
