package mail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"
)

// unfinished begins the names of files that are being written.
const unfinished = ".letter-"

// folder keeps letters as .eml files, for a konto without an SMTP server.
type folder struct{ dir string }

func newFolder(dir string) (*folder, error) {
	if dir == "" {
		return nil, errors.New("mail has neither an SMTP server nor a folder")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for mail: %w", err)
	}
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return nil, errors.Join(fmt.Errorf("%s is not a folder; konto follows no links", dir), err)
	}
	f := &folder{dir}
	return f, f.clean()
}

// clean removes what a crash left half written: it holds an address, and no
// erasure would find it, since it does not bear its event's name yet.
func (f *folder) clean() error {
	left, err := fs.Glob(os.DirFS(f.dir), unfinished+"*")
	if err != nil {
		return fmt.Errorf("clean the folder for mail: %w", err)
	}
	for _, name := range left {
		if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
			return fmt.Errorf("clean the folder for mail: %w", err)
		}
	}
	return nil
}

// Forget removes the letters of events from a folder for mail, durably. There
// may be none, and no folder either.
func Forget(dir string, letters ...ulid.ULID) error {
	removed := false
	for _, event := range letters {
		err := os.Remove(letterPath(dir, event))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove mail: %w", err)
		}
		removed = removed || err == nil
	}
	if !removed {
		return nil
	}
	return (&folder{dir}).sync()
}

func letterPath(dir string, event ulid.ULID) string { return filepath.Join(dir, event.String()+".eml") }

// send implements sender. A file has its name only once it is complete and on
// disk; one that is there already is the same letter.
func (f *folder) send(_ context.Context, l *letter) error {
	name := letterPath(f.dir, l.event)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m, err := l.message()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(f.dir, unfinished+"*")
	if err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	_, err = m.WriteTo(file)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write mail: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return f.sync()
}

// sync makes the name durable, which the file's own sync does not.
func (f *folder) sync() error {
	dir, err := os.Open(f.dir)
	if err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	return nil
}
