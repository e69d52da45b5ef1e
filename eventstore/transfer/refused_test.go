package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"konto/events"
	"konto/eventstore"
	"konto/eventstore/memory"
	"konto/eventstore/transfer"
)

func TestDamagedExportsAreRefused(t *testing.T) {
	from := inMemory(t)
	fillWithEverything(t, from)
	good := from.export(t, false)
	lines := slices.Collect(strings.Lines(string(good)))
	last := len(lines) - 1
	join := func(parts ...[]string) string { return strings.Join(slices.Concat(parts...), "") }
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"nothing":             {"", transfer.ErrFormat},
		"garbage":             {"no export\n", transfer.ErrFormat},
		"another JSON":        {`{"a":1}` + "\n", transfer.ErrFormat},
		"a newer one":         {`{"export":{"format":3,"more":true}}` + "\n", transfer.ErrNewer},
		"a header alone":      {lines[0], transfer.ErrCutOff},
		"no end":              {join(lines[:last]), transfer.ErrCutOff},
		"half a line":         {join(lines[:5]) + lines[5][:30], transfer.ErrCutOff},
		"half the last line":  {join(lines[:last]) + lines[last][:30], transfer.ErrCutOff},
		"the newline missing": {strings.TrimSuffix(string(good), "\n"), transfer.ErrCutOff},
		"a line missing":      {join(lines[:7], lines[8:]), transfer.ErrFormat},
		"the last missing":    {join(lines[:last-1], lines[last:]), transfer.ErrFormat},
		"a line twice":        {join(lines[:7], lines[6:]), transfer.ErrFormat},
		"two lines traded":    {join(lines[:7], lines[8:9], lines[7:8], lines[9:]), transfer.ErrFormat},
		"a changed word":      {strings.Replace(string(good), "anna@example.com", "anne@example.com", 1), transfer.ErrFormat},
		"something behind it": {string(good) + lines[1], transfer.ErrFormat},
		"two exports":         {string(good) + string(good), transfer.ErrFormat},
		"a header in between": {join(lines[:7], lines[:1], lines[7:]), transfer.ErrFormat},
		"no header":           {join(lines[1:]), transfer.ErrFormat},
	} {
		if test.text == string(good) {
			t.Fatalf("%s: not damaged", name)
		}
		if err := inMemory(t).take(t.Context(), []byte(test.text)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		} else if strings.Contains(err.Error(), "example.com") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error quotes it: %v", name, err)
		}
	}
}

// TestEveryTruncatedExportIsRefused cuts an export after each of its bytes.
func TestEveryTruncatedExportIsRefused(t *testing.T) {
	from := inMemory(t)
	from.put(t, newStream(events.CategoryAccount), 1, events.TypeFactsRecorded, []byte(`{"activeDomains":3}`))
	for _, encrypted := range []bool{false, true} {
		good := from.export(t, encrypted)
		for cut := range good {
			r, err := transfer.NewReader(bytes.NewReader(good[:cut]))
			if err == nil {
				_, err = r.Check(t.Context())
			}
			if !errors.Is(err, transfer.ErrCutOff) && !errors.Is(err, transfer.ErrFormat) {
				t.Fatalf("cut after %d of %d bytes: %v", cut, len(good), err)
			}
		}
	}
}

// forged replaces the last line of an export by one that fits the changed lines before it.
func forged(t *testing.T, good []byte, change func(string) string) []byte {
	t.Helper()
	lines := slices.Collect(strings.Lines(string(good)))
	last := len(lines) - 1
	body := change(strings.Join(lines[:last], ""))
	var end map[string]map[string]any
	if err := json.Unmarshal([]byte(lines[last]), &end); err != nil {
		t.Fatal(err)
	}
	end["end"]["sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	text, err := json.Marshal(end)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(body), append(text, '\n')...)
}

func TestInconsistentExportsAreRefused(t *testing.T) {
	from := inMemory(t)
	fillWithEverything(t, from)
	replace := func(old, new string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("no %q", old)
			}
			return strings.Replace(s, old, new, 1)
		}
	}
	for name, test := range map[string]struct {
		encrypted bool
		change    func(string) string
		want      error
	}{
		"nothing changed":         {false, func(s string) string { return s }, nil},
		"an unknown type":         {false, replace(`"KeyIssued.v1","time"`, `"KeyIssued.v9","time"`), events.ErrUnknownType},
		"data of another type":    {false, replace(`{"activeDomains":`, `{"unknown":`), events.ErrMisfit},
		"metadata of its own":     {false, replace(`"contract":"cli"`, `"colour":"red"`), eventstore.ErrMetadata},
		"a stream of no owner":    {false, replace(`"stream":"account-`, `"stream":"account`), transfer.ErrFormat},
		"a version too far":       {false, replace(`"version":1`, `"version":2`), eventstore.ErrConflict},
		"no version":              {false, replace(`"version":1`, `"version":0`), nil},
		"another log's bytes":     {true, replace(`"position":1,"stream":"account-0`, `"position":1,"stream":"account-1`), transfer.ErrFormat},
		"an event shredded again": {false, replace(`"type":"AccountOpened.v1"`, `"type":"AccountOpened.v1","shredded":true`), transfer.ErrFormat},
	} {
		to := inMemory(t)
		if test.encrypted {
			to = newPlace(t, to.log, from.keys)
		}
		err := to.take(t.Context(), forged(t, from.export(t, test.encrypted), test.change))
		switch {
		case name == "no version":
			if err == nil {
				t.Errorf("%s: taken", name)
			}
		case !errors.Is(err, test.want):
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestImportIntoALogWithEventsIsRefused(t *testing.T) {
	from, to := inMemory(t), inMemory(t)
	fillWithEverything(t, from)
	to.put(t, newStream(events.CategoryAccount), 1, events.TypeFactsRecorded, []byte("{}"))
	if err := to.take(t.Context(), from.export(t, false)); !errors.Is(err, transfer.ErrNotEmpty) {
		t.Errorf("%v", err)
	}
	if head, err := to.log.Head(t.Context()); err != nil || head != 1 {
		t.Errorf("it has %d events, %v", head, err)
	}
}

// lossy is a log that stores something else than what is appended.
type lossy struct{ *memory.Log }

func (l lossy) AppendAll(ctx context.Context, batches []eventstore.Batch) (uint64, error) {
	for _, b := range batches {
		for i := range b.Records {
			if b.Records[i].Type == events.TypeAccountErased {
				b.Records[i].Data = []byte(`{ }`)
			}
		}
	}
	return l.Log.AppendAll(ctx, batches)
}

func TestImportedLogThatDiffersIsRefused(t *testing.T) {
	from := inMemory(t)
	fillWithEverything(t, from)
	to := newPlace(t, lossy{memory.New()}, newKeys(t))
	if err := to.take(t.Context(), from.export(t, false)); !errors.Is(err, transfer.ErrOtherLog) {
		t.Errorf("%v", err)
	}
}
