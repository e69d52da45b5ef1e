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

// ErasuresName is the ledger's file in the data folder.
const ErasuresName = "erasures.ndjson"

// ErasureList is the ledger of erasures, erasures.ndjson beside keys.db. It is what
// a restored log or keyring is held against: whoever is in it is erased at every
// start, whatever the other files say. It holds no personal data and is kept for ever.
//
// The file is JSON, an object a line, and lines are only ever added:
//
//	{"account":"01J...","intended":"2026-11-22T10:00:00Z","sum":"1f..."}                 before anything is done
//	{"account":"01J...","erased":"2026-11-22T10:00:01Z","proof":"eyJ...","sum":"8a..."}  once all of it is done
//
// The sum is of the rest of the line: a flipped bit must not erase another account,
// nor spare one. It has no key, because a ledger may outlive its keyring, as at an
// import, and who can write to the folder can do worse. verify checks the proofs too.
//
// The last line of an account counts: one that is intended again, since an older file was
// put back, is not done, whatever the proof before it says.
//
// A line is durable before the next step, so one that a crash cut off at the end
// is of an erasure that had not begun, or is done again: it is dropped. Any other
// line that cannot be read is damage, and an error.
type ErasureList struct {
	mu    sync.Mutex
	path  string
	size  int64 // of the lines that count
	known map[ulid.ULID]Erased
	order []ulid.ULID // as they came
}

// Erased is what the ledger has of an account; without a proof its erasure was
// begun and perhaps not finished.
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

// Text is the line as the file has it.
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

// errShortLedger refuses to go on behind lines that were taken away meanwhile.
var errShortLedger = errors.New("lines of it are gone; put the file back, or restart konto, which adds who the log knows to be erased")

// readErasureLine reads a line that is, to the byte, as text makes it.
func readErasureLine(text []byte) (l ErasureLine, ok bool) {
	if err := json.Unmarshal(text, &l); err != nil || !l.isValid() {
		return l, false
	}
	again, err := l.Text()
	return l, err == nil && bytes.Equal(text, again)
}

// openErasures reads the ledger of a folder. There is no file before the first erasure.
func openErasures(folder string) (l *ErasureList, err error) {
	l = &ErasureList{path: filepath.Join(folder, ErasuresName), known: map[ulid.ULID]Erased{}}
	l.size, err = ReadErasures(l.path, func(_ int, line ErasureLine) error {
		l.take(line)
		return nil
	})
	return l, err
}

// ReadErasures gives each line of the file, with its number from 1, and returns the
// size of those that count.
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

// checkErasures checks the file as it is, and its proofs as those of this keyring.
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
		err = errShortLedger
	}
	return err
}

func (l *ErasureList) written() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// take adds a line to what is known.
func (l *ErasureList) take(line ErasureLine) {
	if _, ok := l.known[line.Account]; !ok {
		l.order = append(l.order, line.Account)
	}
	if line.Proof == "" {
		l.known[line.Account] = Erased{At: line.Intended}
		return
	}
	l.known[line.Account] = Erased{line.Erased, line.Proof}
}

// Of returns what is known of an account.
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

// add writes a line, durably. After an error it may be there or not; to add it
// again is harmless.
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
	l.take(line)
	return nil
}

// write puts bytes behind the lines that count. What a write that failed or a
// crash left there would make the next line unreadable, so it goes first.
func (l *ErasureList) write(text []byte) (err error) {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info, err := file.Stat(); err != nil || info.Size() < l.size {
		return errors.Join(errShortLedger, err)
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
