package sqlite

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"konto/eventstore"
)

func TestCopyMadeUnderLoadEqualsTheLogAtItsPosition(t *testing.T) {
	dir := t.TempDir()
	log := open(t, filepath.Join(dir, "log.db"))
	for range 20 {
		mustAppend(t, log, newBatch(100))
	}
	before, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if _, err := log.Append(t.Context(), newBatch(3, eventstore.ClaimOp{Key: newKey()})); err != nil {
					t.Error(err)
				}
			}
		})
	}
	copied := filepath.Join(dir, "copy.db")
	if err := log.Copy(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	extent, err := Inspect(t.Context(), copied, nil)
	if err != nil {
		t.Fatal(err)
	}
	if extent.Position < before {
		t.Errorf("the copy ends at %d, the log went to %d before", extent.Position, before)
	}
	live, err := log.Extent(t.Context(), extent.Position)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(live, extent) {
		t.Errorf("the copy is %v, the log %v", extent, live)
	}
	other := open(t, copied)
	for after := uint64(0); after < extent.Position; after += 500 {
		want, err := log.ReadAll(t.Context(), after, int(min(500, extent.Position-after)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := other.ReadAll(t.Context(), after, 500)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("records after %d differ", after)
		}
	}
	claims, err := other.Claims(t.Context(), eventstore.HeldClaim{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if want := int(extent.Position-before) / 3; len(claims) != want {
		t.Errorf("%d claims with %d appends that take one", len(claims), want)
	}
}

func newKey() (key eventstore.ClaimKey) {
	id := newBatch(1).Records[0].ID
	copy(key[:], id[:])
	return key
}

func TestCopiesThatFailLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	log := open(t, filepath.Join(dir, "log.db"))
	mustAppend(t, log, newBatch(10))
	there := filepath.Join(dir, "there.db")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		to   string
		want error
	}{
		"a file that exists":     {t.Context(), there, fs.ErrExist},
		"a folder that does not": {t.Context(), filepath.Join(dir, "none", "copy.db"), fs.ErrNotExist},
		"a caller who left":      {ended, filepath.Join(dir, "copy.db"), context.Canceled},
	} {
		if err := log.Copy(test.ctx, test.to); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if test.to == there {
			if data, _ := os.ReadFile(there); string(data) != "mine" {
				t.Errorf("%s was overwritten", name)
			}
		} else if _, err := os.Stat(test.to); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s left a file", name)
		}
	}
	mustAppend(t, log, newBatch(1)) // and harms nobody
}

func TestInspectRefusesDamagedLogs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.db")
	log := open(t, path)
	for range 30 {
		mustAppend(t, log, newBatch(30))
	}
	log.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(good, []byte("data of account-")) + 5
	flipped := bytes.Clone(good)
	flipped[at] ^= 1
	for name, content := range map[string][]byte{
		"empty":         {},
		"garbage":       bytes.Repeat([]byte("no log "), 2000),
		"half of it":    good[:len(good)/2/4096*4096],
		"a flipped bit": flipped,
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if extent, err := Inspect(t.Context(), path, nil); err == nil {
			t.Errorf("%s is good to position %d", name, extent.Position)
		}
	}
	if _, err := Inspect(t.Context(), filepath.Join(dir, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if extent, err := Inspect(t.Context(), path, nil); err != nil || extent.Position != 900 {
		t.Errorf("the good one: position %d, %v", extent.Position, err)
	}
}

func TestOnlyTheOwnerCanReadACopy(t *testing.T) {
	dir := t.TempDir()
	log := open(t, filepath.Join(dir, "log.db"))
	copied := filepath.Join(dir, "copy.db")
	if err := log.Copy(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAppendAllKeepsTheOrderAndReturnsTheFirstRefusal(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	var batches []eventstore.Batch
	for range 2500 { // more than a transaction takes
		batches = append(batches, newBatch(1))
	}
	last, err := log.AppendAll(t.Context(), batches)
	if err != nil || last != 2500 {
		t.Fatalf("last is %d, %v", last, err)
	}
	for i, r := range mustReadAll(t, log) {
		if r.Stream != batches[i].Stream {
			t.Fatalf("position %d is another record", i+1)
		}
	}
	again := []eventstore.Batch{newBatch(1), batches[7], batches[8]}
	var conflict *eventstore.VersionConflict
	if _, err := log.AppendAll(t.Context(), again); !errors.As(err, &conflict) || conflict.Stream != batches[7].Stream {
		t.Errorf("%v", err)
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

func TestOnlyAnEmptyLogAdoptsAnID(t *testing.T) {
	log := open(t, filepath.Join(t.TempDir(), "log.db"))
	id := bytes.Repeat([]byte{7}, 16)
	if err := log.Adopt(t.Context(), id[:15]); err == nil {
		t.Error("adopted a short id")
	}
	if err := log.Adopt(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, newBatch(1))
	if err := log.Adopt(t.Context(), bytes.Repeat([]byte{8}, 16)); err == nil {
		t.Error("a log with records took another id")
	}
	if got, err := log.ID(t.Context()); err != nil || !bytes.Equal(got, id) {
		t.Errorf("the id is %x, %v", got, err)
	}
}
