package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// folderLocked tells that another process has opened the data folder.
type folderLocked struct{ folder, holder string }

func (e *folderLocked) Error() string {
	return fmt.Sprintf("data folder %s is in use by %s", e.folder, e.holder)
}

// lockFolder takes the folder's lock, which ends with the process that holds
// it, however that ends. The file's content only says who the holder is.
func lockFolder(folder, holder string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(folder, "konto.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer file.Close()
		name, _ := io.ReadAll(io.LimitReader(file, 200))
		if len(name) == 0 {
			name = []byte("another process") // it is about to write its name
		}
		return nil, &folderLocked{folder, strings.TrimSpace(string(name))}
	}
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(file, "%s (process %d)\n", holder, os.Getpid())
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return file, nil
}
