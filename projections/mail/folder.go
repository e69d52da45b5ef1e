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

// folder stores mails as .eml files, for a konto without an SMTP server.
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

// clean deletes files that a crash left half written. They hold an address, and an erasure would not find
// them, because they do not have their event's name yet.
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

// Delete deletes the mails of events from a folder, durably. There may be none, or no folder.
func Delete(dir string, requests ...ulid.ULID) error {
	removed := false
	for _, event := range requests {
		err := os.Remove(mailPath(dir, event))
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

func mailPath(dir string, event ulid.ULID) string { return filepath.Join(dir, event.String()+".eml") }

// send implements sender.
//
// The file gets its name only when it is complete and synced. A crash before that leaves a file that
// clean deletes. If a file with the name exists, it is the same mail.
func (f *folder) send(_ context.Context, c *confirmation) error {
	name := mailPath(f.dir, c.event)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m, err := c.message()
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

// sync makes the names in the folder durable. The sync of a file does not.
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
