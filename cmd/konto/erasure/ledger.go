package erasure

import (
	"bytes"
	"context"
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

// LedgerStore is the ledger of erasures: the portable copy of what the tombstones of keys say, with
// the proofs. Every start erases the accounts in it again if a restored log or restored keys brought
// them back. It holds no personal data and is kept for ever. Each line is an object, and lines are
// only ever added:
//
//	{"account":"01J...","erased":"2026-11-22T10:00:01Z","proof":"eyJ...","sum":"8a..."}
//
// The sum covers the rest of the line: a flipped bit must neither erase another account nor spare
// one. The last line of an account counts. If it has "intended", as earlier builds wrote before they
// began, the erasure is not done, whatever proof is before it.
//
// A line is durable before its erasure counts as done. A single machine has Ledger, a cluster has
// Shared.
type LedgerStore interface {
	// Of returns the line that counts for an account.
	Of(account ulid.ULID) (line Line, ok bool)
	// Whole returns an error if lines were removed since they were read.
	Whole() error
	// Exists reports whether there is anything to copy.
	Exists() bool
	// Copy writes the lines into a new file, as erasures.ndjson has them. The content is durable,
	// the file's name is not.
	Copy(ctx context.Context, to string) error

	// begin notes, in memory alone, that an account is being erased, perhaps again: no proof counts
	// until the next. Its row has that durably.
	begin(account ulid.ULID)
	// all lists the accounts that are erased or are to be, in no order.
	all() []ulid.ULID
	// add writes a line durably. After an error the line may be there or not; to add it again is
	// harmless.
	add(ctx context.Context, line Line) error
}

// Ledger is erasures.ndjson, the LedgerStore of a single machine. A last line that a crash cut off
// belongs to an erasure that the next start goes on with, and is dropped. Any other line that
// cannot be read is damage, and an error.
type Ledger struct {
	known
	path string
	size int64 // of the lines that count; guarded by mu
}

// known is what a LedgerStore has in memory.
type known struct {
	mu    sync.Mutex
	lines map[ulid.ULID]Line     // the last one of each account
	begun map[ulid.ULID]struct{} // whose row says that they are not proven
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
	l := &Ledger{path: filepath.Join(folder, LedgerName), known: newKnown()}
	lines, size, err := ReadLedger(l.path)
	for _, line := range lines {
		l.lines[line.Account] = line
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
			// A line without its end, or with blocks that were never written, is what a crash
			// leaves.
			if torn := end == 0 || end == len(rest) && bytes.IndexByte(rest, 0) >= 0; torn {
				break
			}
			return nil, 0, fmt.Errorf("line %d of %s cannot be read; restore the file from its copy", len(lines)+1, path)
		}
		lines, size, rest = append(lines, line), size+int64(end), rest[end:]
	}
	return lines, size, nil
}

// Latest returns the line that counts of each account. If provable is false, the proofs are not of
// this log's keys: the lines then only say that the accounts are to be erased.
func Latest(lines []Line, provable bool) (latest []Line) {
	last := map[ulid.ULID]int{}
	for i, l := range lines {
		last[l.Account] = i
	}
	for i, l := range lines {
		if last[l.Account] != i {
			continue
		}
		if !provable && l.Intended.IsZero() {
			l = Line{Account: l.Account, Intended: l.Erased}
		}
		latest = append(latest, l)
	}
	return latest
}

// CheckLedger checks the file, and its proofs with the key that made them.
func CheckLedger(path string, key ed25519.PrivateKey) error {
	lines, _, err := ReadLedger(path)
	for i, l := range lines {
		if err := l.check(key); err != nil {
			return fmt.Errorf("line %d of %s: %w", i+1, path, err)
		}
	}
	return err
}

// check checks the line's proof, if it has one.
func (l Line) check(key ed25519.PrivateKey) error {
	if l.Proof == "" {
		return nil
	}
	return webhook.CheckErasureProof(l.Proof, l.Account, l.Erased, key)
}

// Whole implements LedgerStore.
func (l *Ledger) Whole() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, err := os.Stat(l.path)
	if l.size == 0 || err == nil && info.Size() >= l.size {
		return nil
	}
	return errors.Join(errors.New("lines of it are gone; put the file back, or restart konto, which adds who the log knows to be erased"), err)
}

func newKnown() known {
	return known{lines: map[ulid.ULID]Line{}, begun: map[ulid.ULID]struct{}{}}
}

func (k *known) begin(account ulid.ULID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.begun[account] = struct{}{}
}

func (k *known) added(line Line) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines[line.Account] = line
	delete(k.begun, line.Account)
}

// Of implements LedgerStore.
func (k *known) Of(account ulid.ULID) (line Line, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, begun := k.begun[account]; begun {
		return Line{Account: account}, true
	}
	line, ok = k.lines[account]
	return line, ok
}

func (k *known) all() []ulid.ULID {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := slices.Collect(maps.Keys(k.lines))
	for account := range k.begun {
		if _, listed := k.lines[account]; !listed {
			all = append(all, account)
		}
	}
	return all
}

// Exists implements LedgerStore.
func (l *Ledger) Exists() bool {
	_, err := os.Stat(l.path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Copy implements LedgerStore.
func (l *Ledger) Copy(ctx context.Context, to string) error {
	return sqlitefile.CopyFile(ctx, l.path, to)
}

// add writes a line behind the lines that count. First it removes what a failed write or a crash
// left there, which would make the line unreadable.
func (l *Ledger) add(_ context.Context, line Line) error {
	text, err := line.Text()
	if err := errors.Join(err, l.Whole()); err != nil {
		return err
	}
	if err := l.write(text); err != nil {
		return err
	}
	l.added(line)
	return nil
}

func (l *Ledger) write(text []byte) error {
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
	return nil
}
