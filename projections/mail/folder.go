package mail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// folder keeps letters as .eml files, for a konto without an SMTP server.
type folder struct{ dir string }

func newFolder(dir string) (*folder, error) {
	if dir == "" {
		return nil, errors.New("mail has neither an SMTP server nor a folder")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for mail: %w", err)
	}
	return &folder{dir}, nil
}

// send implements sender. A file has its name only once it is complete and on
// disk; one that is there already is the same letter.
func (f *folder) send(_ context.Context, l *letter) error {
	name := filepath.Join(f.dir, l.event.String()+".eml")
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m, err := l.message()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(f.dir, ".letter-*")
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
