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

// HolderName is the file in the data folder that names who holds it.
const HolderName = "konto.lock"

// Locked tells that another process has opened the data folder.
type Locked struct{ Folder, Holder string }

func (e *Locked) Error() string {
	return fmt.Sprintf("data folder %s is in use by %s", e.Folder, e.Holder)
}

// Lock takes the folder's lock, which ends with the process that holds
// it, however that ends. The lock is on the folder itself: one on a file in it
// would let a second process in once the file was deleted. The file only says
// who the holder is. A folder that others may write to is refused.
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
			known = []byte("another process") // it is about to write its name
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

// writeHolder makes the file anew, of which the last holder may have left another.
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
