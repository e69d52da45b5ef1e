package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"
)

// erasures is the ledger of erasures, erasures.ndjson beside keys.db. It is what
// a restored log or keyring is held against: whoever is in it is erased at every
// start, whatever the other files say. It holds no personal data and is kept for ever.
//
// The file is JSON, an object a line, and lines are only ever added:
//
//	{"account":"01J...","intended":"2026-11-22T10:00:00Z"}                 before anything is done
//	{"account":"01J...","erased":"2026-11-22T10:00:01Z","proof":"eyJ..."}  once all of it is done
//
// A line is durable before the next step, so one that a crash cut off at the end
// is of an erasure that had not begun, or is done again: it is dropped. Any other
// line that cannot be read is damage, and an error.
type erasures struct {
	mu    sync.Mutex
	path  string
	size  int64 // of the lines that count
	known map[ulid.ULID]erased
	order []ulid.ULID // as they came
}

// erased is what the ledger has of an account; without a proof its erasure was
// begun and perhaps not finished.
type erased struct {
	At    time.Time
	Proof string
}

// erasureLine is one line of the file.
type erasureLine struct {
	Account  ulid.ULID `json:"account"`
	Intended time.Time `json:"intended,omitzero"`
	Erased   time.Time `json:"erased,omitzero"`
	Proof    string    `json:"proof,omitzero"`
}

func (l erasureLine) isValid() bool {
	return !l.Account.IsZero() && l.Intended.IsZero() != l.Erased.IsZero() && l.Erased.IsZero() == (l.Proof == "")
}

// openErasures reads the ledger of a folder. There is no file before the first erasure.
func openErasures(folder string) (*erasures, error) {
	l := &erasures{path: filepath.Join(folder, erasuresName), known: map[ulid.ULID]erased{}}
	text, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger of erasures: %w", err)
	}
	number := 0
	for rest := text; len(rest) > 0; {
		number++
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		var read erasureLine
		if !whole || json.Unmarshal(line, &read, json.RejectUnknownMembers(true)) != nil || !read.isValid() {
			if len(after) > 0 {
				return nil, fmt.Errorf("line %d of %s cannot be read; restore the file from its copy", number, l.path)
			}
			break
		}
		l.take(read)
		l.size += int64(len(line)) + 1
		rest = after
	}
	return l, nil
}

// take adds a line to what is known.
func (l *erasures) take(line erasureLine) {
	known, ok := l.known[line.Account]
	if !ok {
		l.order = append(l.order, line.Account)
		known.At = line.Intended
	}
	if line.Proof != "" {
		known = erased{line.Erased, line.Proof}
	}
	l.known[line.Account] = known
}

// of returns what is known of an account.
func (l *erasures) of(account ulid.ULID) (e erased, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok = l.known[account]
	return e, ok
}

// all lists the accounts, in the order in which they were erased.
func (l *erasures) all() []ulid.ULID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]ulid.ULID(nil), l.order...)
}

// add writes a line, durably. After an error it may be there or not; to add it
// again is harmless.
func (l *erasures) add(line erasureLine) error {
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("write to the ledger of erasures: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(append(text, '\n')); err != nil {
		return fmt.Errorf("write to the ledger of erasures: %w", err)
	}
	l.size += int64(len(text)) + 1
	l.take(line)
	return nil
}

// write puts bytes behind the lines that count. What a write that failed or a
// crash left there would make the next line unreadable, so it goes first.
func (l *erasures) write(text []byte) (err error) {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := file.Truncate(l.size); err != nil {
		return err
	}
	if _, err := io.NewOffsetWriter(file, l.size).Write(text); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if l.size > 0 {
		return nil
	}
	return syncFolder(filepath.Dir(l.path)) // the file's name is new
}
