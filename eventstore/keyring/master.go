package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"konto/eventstore/sqlitefile"
)

// keySize is the length of every key in bytes, for AES-256.
const keySize = 32

// ErrNoMaster is matched by LoadMaster's error when no master key was given and
// its file is missing although something was encrypted with it. Nothing was
// changed; put the file back.
var ErrNoMaster = errors.New("master key is missing")

// LoadMaster returns the master key: given (the value of KONTO_MASTER_KEY, 64
// hex digits) when it is not empty, else the content of the file at path, which
// is made with mode 0600 when it is missing and fresh tells that nothing was
// encrypted yet. A file that other users may read is refused.
func LoadMaster(path, given string, fresh bool) ([]byte, error) {
	if given != "" {
		return parseMaster("KONTO_MASTER_KEY", []byte(given))
	}
	key, err := readMaster(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if !fresh {
		return nil, fmt.Errorf("%w: %s is needed to read what was encrypted with it; restore the file or set KONTO_MASTER_KEY", ErrNoMaster, path)
	}
	if err := makeMaster(path); err != nil {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	return readMaster(path)
}

func readMaster(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("master key %s is not a file; konto follows no links", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("master key %s is open to other users (mode %04o); run chmod 600 on it", path, info.Mode().Perm())
	}
	text, err := sqlitefile.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	return parseMaster(path, text)
}

// parseMaster names the key's source in its error, and shows none of its digits.
func parseMaster(source string, text []byte) ([]byte, error) {
	key, err := hex.AppendDecode(nil, bytes.TrimSpace(text))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("master key %s is not %d hex digits", source, hex.EncodedLen(keySize))
	}
	return key, nil
}

// makeMaster writes a new key to path, durably: whatever is wrapped with it
// would be lost with it. The key appears under its name only when it is
// complete, so a crash cannot leave half a key behind, and an existing file is
// never replaced.
func makeMaster(path string) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // with O_EXCL and mode 0600
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		err = errors.Join(err, os.Remove(f.Name()), syncDir(dir))
	}()
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	if _, err := fmt.Fprintf(f, "%x\n", key); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
