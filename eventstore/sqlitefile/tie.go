package sqlitefile

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrForeignWAL is matched by Tie's error for a file beside the write-ahead log of another file.
// SQLite would apply the log and damage the file. Nothing was changed. Remove the log, or restore
// the file that it belongs to.
var ErrForeignWAL = errors.New("the write-ahead log beside it belongs to another file")

// StampSuffix is the suffix of the file in which Tie stores the stamp of a file.
const StampSuffix = "-stamp"

// The stamp is stored as SQLite's user_version, which tied files use for nothing else.
const (
	magic   = "SQLite format 3\x00"
	stampAt = 60
)

type stamp [4]byte

// Tie is called before a file is opened that nobody else has open. It refuses a file whose
// write-ahead log belongs to another file. SQLite itself cannot notice that.
//
// If there is no write-ahead log, Tie writes a new random stamp into the file, and also into the
// file with StampSuffix. So a log that exists later belongs to the file with this stamp. A copy
// has another stamp, unless it was made since the file was last opened, which Tie does not
// notice. Tie accepts any file without a StampSuffix. A crash leaves two different stamps
// and no log, which is harmless.
func Tie(path string) error {
	found, sqlite, err := readStamp(path)
	if err != nil {
		return err
	}
	if notEmpty(path+"-wal") || notEmpty(path+"-journal") {
		known, err := ReadFile(path + StampSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // never tied
		}
		if err == nil && string(known) != found.text() {
			err = fmt.Errorf("open %s: %w", path, ErrForeignWAL)
		}
		return err
	}
	if sqlite {
		if err := Stamp(path); err != nil {
			return err
		}
		if found, _, err = readStamp(path); err != nil {
			return err
		}
	}
	return writeSynced(path+StampSuffix, os.O_CREATE|os.O_TRUNC, 0, []byte(found.text()))
}

// Stamp writes a random stamp into a SQLite file that nobody has open, such as a copy, so that it
// counts as another file.
func Stamp(path string) error {
	var s stamp
	rand.Read(s[:]) // never fails
	return writeSynced(path, 0, stampAt, s[:])
}

func (s stamp) text() string { return hex.EncodeToString(s[:]) }

// readStamp does not use SQLite, which would apply the write-ahead log. It returns zeros for a
// file that is missing, empty or not a SQLite file.
func readStamp(path string) (s stamp, sqlite bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	defer f.Close()
	header := make([]byte, stampAt+len(s))
	switch _, err := io.ReadFull(f, header); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return s, false, nil
	case err != nil:
		return s, false, err
	}
	if !bytes.HasPrefix(header, []byte(magic)) {
		return s, false, nil
	}
	return stamp(header[stampAt:]), true, nil
}

// HasHeader reports whether a file begins as a SQLite file. If not, SQLite deletes the write-ahead
// log when it opens the file.
func HasHeader(path string) bool {
	_, sqlite, err := readStamp(path)
	return err == nil && sqlite
}

func notEmpty(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

// ReadFile is os.ReadFile, except that it follows no link.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// writeSynced writes into a file. The content and the name are durable when it returns.
func writeSynced(path string, flags int, at int64, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, at)
	return errors.Join(err, f.Sync(), f.Close(), SyncName(path))
}
