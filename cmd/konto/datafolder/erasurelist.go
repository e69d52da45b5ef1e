package datafolder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"konto/eventstore/sqlitefile"
	"konto/projections/webhook"
)

// ErasuresName is the file with the list of erasures in the data folder.
const ErasuresName = "erasures.ndjson"

// ErasureList is the list of erasures, erasures.ndjson beside keys.db. Every start erases
// the accounts in it again if a restored log or restored keys brought them back. It holds
// no personal data and is kept for ever.
//
// The file is JSON, an object a line, and lines are only ever added:
//
//	{"account":"01J...","intended":"2026-11-22T10:00:00Z","sum":"1f..."}                 before anything is done
//	{"account":"01J...","erased":"2026-11-22T10:00:01Z","proof":"eyJ...","sum":"8a..."}  once all of it is done
//
// The sum covers the rest of the line: a flipped bit must neither erase another account nor
// spare one. It has no key, because the list may be used with other keys, as after an
// import, and whoever can write to the folder can do worse. konto verify checks the proofs
// too.
//
// The last line of an account counts. If that line intends the erasure again, because an
// older file was restored, the erasure is not done, whatever proof is before it.
//
// A line is durable before the next step. So a last line that a crash cut off belongs to an
// erasure that had not begun or is done again, and is dropped. Any other line that cannot be
// read is damage, and an error.
type ErasureList struct {
	mu    sync.Mutex
	path  string
	size  int64 // of the lines that count
	known map[ulid.ULID]Erased
	order []ulid.ULID // as they came
}

// Erased is what the list has of an account. Without a proof the erasure has begun and may not
// be finished.
type Erased struct {
	At    time.Time
	Proof string
}

// ErasureLine is one line of the file.
type ErasureLine struct {
	Account  ulid.ULID `json:"account"`
	Intended time.Time `json:"intended,omitzero"`
	Erased   time.Time `json:"erased,omitzero"`
	Proof    string    `json:"proof,omitzero"`
	Sum      string    `json:"sum,omitzero"` // text sets it
}

func (l ErasureLine) isValid() bool {
	return !l.Account.IsZero() && l.Intended.IsZero() != l.Erased.IsZero() && l.Erased.IsZero() == (l.Proof == "")
}

// Text returns the line as the file has it.
func (l ErasureLine) Text() ([]byte, error) {
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

// errShortList refuses to write behind lines that were removed meanwhile.
var errShortList = errors.New("lines of it are gone; put the file back, or restart konto, which adds who the log knows to be erased")

// readErasureLine reads a line that is, to the byte, as text makes it.
func readErasureLine(text []byte) (l ErasureLine, ok bool) {
	if err := json.Unmarshal(text, &l); err != nil || !l.isValid() {
		return l, false
	}
	again, err := l.Text()
	return l, err == nil && bytes.Equal(text, again)
}

// openErasures reads the list of a folder. Before the first erasure there is no file.
func openErasures(folder string) (l *ErasureList, err error) {
	l = &ErasureList{path: filepath.Join(folder, ErasuresName), known: map[ulid.ULID]Erased{}}
	l.size, err = ReadErasures(l.path, func(_ int, line ErasureLine) error {
		l.remember(line)
		return nil
	})
	return l, err
}

// ReadErasures calls each for every line of the file, with its number from 1. It returns the
// size of the lines that count.
func ReadErasures(path string, each func(number int, line ErasureLine) error) (size int64, err error) {
	rest, err := sqlitefile.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("read the ledger of erasures: %w", err)
	}
	for number := 1; len(rest) > 0; number++ {
		end := bytes.IndexByte(rest, '\n') + 1
		line, ok := readErasureLine(rest[:end])
		if !ok {
			// A line without its end, or with blocks that were never written, is what a crash leaves.
			if torn := end == 0 || end == len(rest) && bytes.IndexByte(rest, 0) >= 0; torn {
				break
			}
			return 0, fmt.Errorf("line %d of %s cannot be read; restore the file from its copy", number, path)
		}
		if err := each(number, line); err != nil {
			return 0, err
		}
		size += int64(end)
		rest = rest[end:]
	}
	return size, nil
}

// checkErasures checks the file, and its proofs with these keys.
func (f *Folder) checkErasures(context.Context) error {
	key := webhook.TokenKey(f.Keys.Derive)
	size, err := ReadErasures(f.file(ErasuresName), func(number int, l ErasureLine) error {
		if l.Proof == "" {
			return nil
		}
		if err := webhook.CheckErasureProof(l.Proof, l.Account, l.Erased, key); err != nil {
			return fmt.Errorf("line %d of %s: %w", number, f.file(ErasuresName), err)
		}
		return nil
	})
	if err == nil && f.Erasures != nil && size < f.Erasures.written() {
		err = errShortList
	}
	return err
}

func (l *ErasureList) written() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// remember adds a line to what is known.
func (l *ErasureList) remember(line ErasureLine) {
	if _, ok := l.known[line.Account]; !ok {
		l.order = append(l.order, line.Account)
	}
	if line.Proof == "" {
		l.known[line.Account] = Erased{At: line.Intended}
		return
	}
	l.known[line.Account] = Erased{line.Erased, line.Proof}
}

// Of returns what the list has of an account.
func (l *ErasureList) Of(account ulid.ULID) (e Erased, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok = l.known[account]
	return e, ok
}

// all lists the accounts, in the order in which they were erased.
func (l *ErasureList) all() []ulid.ULID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]ulid.ULID(nil), l.order...)
}

// add writes a line durably. After an error the line may be there or not; to add it again is
// harmless.
func (l *ErasureList) add(line ErasureLine) error {
	text, err := line.Text()
	if err != nil {
		return fmt.Errorf("write to the ledger of erasures: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(text); err != nil {
		return fmt.Errorf("write to the ledger of erasures: %w", err)
	}
	l.size += int64(len(text))
	l.remember(line)
	return nil
}

// write writes bytes behind the lines that count. First it removes what a failed write or a
// crash left there, which would make the next line unreadable.
func (l *ErasureList) write(text []byte) (err error) {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info, err := file.Stat(); err != nil || info.Size() < l.size {
		return errors.Join(errShortList, err)
	}
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
	return Sync(filepath.Dir(l.path)) // the file's name is new
}
