package erasure

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/eventstore/sqlitefile"
	"konto/projections/webhook"
)

// LedgerName is the file of the ledger in the data folder.
const LedgerName = "erasures.ndjson"

// Ledger is erasures.ndjson: the portable copy of what the tombstones in keys.db say, with the
// proofs. Every start erases the accounts in it again if a restored log or restored keys brought
// them back. It holds no personal data and is kept for ever. Each line is an object, and lines are
// only ever added:
//
//	{"account":"01J...","erased":"2026-11-22T10:00:01Z","proof":"eyJ...","sum":"8a..."}
//
// The sum covers the rest of the line: a flipped bit must neither erase another account nor spare
// one. The last line of an account counts. If it has "intended", as earlier builds wrote before they
// began, the erasure is not done, whatever proof is before it.
//
// A line is durable before its erasure counts as done. So a last line that a crash cut off belongs
// to an erasure that the next start goes on with, and is dropped. Any other line that cannot be
// read is damage, and an error.
type Ledger struct {
	mu    sync.Mutex
	path  string
	size  int64 // of the lines that count
	known map[ulid.ULID]Line
}

// Line is one line of the file: an erasure that is done, or one that an earlier build intended.
type Line struct {
	Account  ulid.ULID `json:"account"`
	Intended time.Time `json:"intended,omitzero"`
	Erased   time.Time `json:"erased,omitzero"`
	Proof    string    `json:"proof,omitzero"`
	Sum      string    `json:"sum,omitzero"` // Text sets it
}

// Text returns the line as the file has it.
func (l Line) Text() ([]byte, error) {
	l.Sum = ""
	rest, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(rest)
	l.Sum = hex.EncodeToString(sum[:8])
	text, err := json.Marshal(l)
	return append(text, '\n'), err
}

// readLine reads a line that is, to the byte, as Text makes it.
func readLine(text []byte) (l Line, ok bool) {
	err := json.Unmarshal(text, &l)
	valid := !l.Account.IsZero() && l.Intended.IsZero() != l.Erased.IsZero() && l.Erased.IsZero() == (l.Proof == "")
	again, _ := l.Text()
	return l, err == nil && valid && bytes.Equal(text, again)
}

// openLedger reads the ledger of a folder. Before the first erasure there is no file.
func openLedger(folder string) (*Ledger, error) {
	l := &Ledger{path: filepath.Join(folder, LedgerName), known: map[ulid.ULID]Line{}}
	lines, size, err := ReadLedger(l.path)
	for _, line := range lines {
		l.known[line.Account] = line
	}
	l.size = size
	return l, err
}

// ReadLedger returns the lines of the file, and their size.
func ReadLedger(path string) (lines []Line, size int64, err error) {
	rest, err := sqlitefile.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("read the ledger of erasures: %w", err)
	}
	for len(rest) > 0 {
		end := bytes.IndexByte(rest, '\n') + 1
		line, ok := readLine(rest[:end])
		if !ok {
			// A line without its end, or with blocks that were never written, is what a crash leaves.
			if torn := end == 0 || end == len(rest) && bytes.IndexByte(rest, 0) >= 0; torn {
				break
			}
			return nil, 0, fmt.Errorf("line %d of %s cannot be read; restore the file from its copy", len(lines)+1, path)
		}
		lines, size, rest = append(lines, line), size+int64(end), rest[end:]
	}
	return lines, size, nil
}

// CheckLedger checks the file, and its proofs with the key that made them.
func CheckLedger(path string, key ed25519.PrivateKey) error {
	lines, _, err := ReadLedger(path)
	for i, l := range lines {
		if l.Proof == "" {
			continue
		}
		if err := webhook.CheckErasureProof(l.Proof, l.Account, l.Erased, key); err != nil {
			return fmt.Errorf("line %d of %s: %w", i+1, path, err)
		}
	}
	return err
}

// Whole returns an error if lines were removed from the file since it was opened.
func (l *Ledger) Whole() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, err := os.Stat(l.path)
	if l.size == 0 || err == nil && info.Size() >= l.size {
		return nil
	}
	return errors.Join(errors.New("lines of it are gone; put the file back, or restart konto, which adds who the log knows to be erased"), err)
}

// begin notes, in memory alone, that an account is being erased, perhaps again: no proof counts until
// the next. Its row has that durably.
func (l *Ledger) begin(account ulid.ULID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[account] = Line{Account: account}
}

// Of returns the line that counts for an account.
func (l *Ledger) Of(account ulid.ULID) (line Line, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, ok = l.known[account]
	return line, ok
}

// all lists the accounts that are erased or are to be, in no order.
func (l *Ledger) all() []ulid.ULID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.known))
}

// add writes a line durably, behind the lines that count. First it removes what a failed write or a
// crash left there, which would make the line unreadable. After an error the line may be there or
// not; to add it again is harmless.
func (l *Ledger) add(line Line) error {
	text, err := line.Text()
	if err := errors.Join(err, l.Whole()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err = file.Truncate(l.size); err == nil {
		_, err = file.WriteAt(text, l.size)
	}
	if err := errors.Join(err, file.Sync(), file.Close(), sqlitefile.SyncName(l.path)); err != nil { // the file may be new
		return err
	}
	l.size += int64(len(text))
	l.known[line.Account] = line
	return nil
}
