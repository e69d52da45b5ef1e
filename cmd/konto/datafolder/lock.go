package datafolder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"konto/eventstore/sqlitefile"
)

// HolderName is the file in a data folder that names the process that holds the lock.
const HolderName = "konto.lock"

// Locked is the error for a data folder that another process has opened.
type Locked struct{ Folder, Holder string }

// Error implements error.
func (e *Locked) Error() string {
	return fmt.Sprintf("data folder %s is in use by %s", e.Folder, e.Holder)
}

// Lock locks a folder. The lock ends with the process that holds it, however the process ends.
// The lock is on the folder itself: a lock on a file in the folder would let a second process
// in once that file is deleted. The file HolderName only says who the holder is. Lock refuses
// a folder that other users may write to.
func Lock(folder, holder string) (*os.File, error) {
	lock, err := os.OpenFile(folder, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := checkFolder(lock, folder); err != nil {
		lock.Close()
		return nil, err
	}
	name := filepath.Join(folder, HolderName)
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer lock.Close()
		known, _ := sqlitefile.ReadFile(name)
		if len(known) == 0 {
			known = []byte("another process") // it is just writing its name
		}
		return nil, &Locked{folder, strings.TrimSpace(string(known))}
	}
	if err == nil {
		err = writeHolder(name, holder)
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	return lock, nil
}

// writeHolder replaces the file that the last holder left.
func writeHolder(name, holder string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s (process %d)\n", holder, os.Getpid())
	return errors.Join(err, f.Close())
}
