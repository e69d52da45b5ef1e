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

// ErrForeignWAL is matched by Tie's error for a file beside the write-ahead log of
// another one: SQLite would play that into it and damage it. Nothing was changed.
// Put the file there without the log, or back the one that the log belongs to.
var ErrForeignWAL = errors.New("the write-ahead log beside it belongs to another file")

// StampSuffix ends the name of what Tie keeps beside a file.
const StampSuffix = "-stamp"

// The stamp is SQLite's user_version, which nothing else uses in a file that is tied.
const (
	magic   = "SQLite format 3\x00"
	stampAt = 60
)

type stamp [4]byte

// Tie is called before a file is opened that nobody else has open. It refuses a file
// that was put beside what is left of another one's write-ahead log, which nothing
// in SQLite's formats can tell.
//
// As long as there is no such log, the file gets a new random stamp, and StampSuffix
// beside it the same. So a log that is there later is of the file with that stamp; a
// copy has another one, unless it was made since the file was last opened. That
// is not noticed, and neither is anything where there is no StampSuffix. A crash
// in between leaves two stamps and no log, which harms nobody.
func Tie(path string) error {
	found, sqlite, err := readStamp(path)
	if err != nil {
		return err
	}
	if left(path+"-wal") || left(path+"-journal") {
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

// Stamp puts a random stamp into a SQLite file that nobody has open, such as a copy,
// which is another file from then on.
func Stamp(path string) error {
	var s stamp
	rand.Read(s[:]) // never fails
	return writeSynced(path, 0, stampAt, s[:])
}

func (s stamp) text() string { return hex.EncodeToString(s[:]) }

// readStamp reads without SQLite, which would play the write-ahead log. What is
// missing, empty or no SQLite file has the stamp of zeros.
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

// HasHeader tells whether a file begins as SQLite's do. Of one that does not, SQLite
// would throw the write-ahead log away when it is opened.
func HasHeader(path string) bool {
	_, sqlite, err := readStamp(path)
	return err == nil && sqlite
}

func left(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

// ReadFile is os.ReadFile, but follows no link.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// writeSynced writes into a file, durably.
func writeSynced(path string, flags int, at int64, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|flags, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, at)
	return errors.Join(err, f.Sync(), f.Close(), SyncName(path))
}
