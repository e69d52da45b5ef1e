package datafolder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"konto/eventstore/sqlitefile"
)

// How new files replace the log or the keys of a data folder. konto may be killed at each step:
//
//	incoming.partial/        the new files are made and checked   the old files count; a start deletes the new ones
//	  │ sync, rename
//	incoming-<time>/         they are complete                    every start goes on from here
//	  │ for keys.db and then for log.db, if it is there:
//	  │ the old one, its WAL ──▶ replaced-<time>/                   1. the old file is moved
//	  │ read.db removed, for log.db                                 2. what was made from it is deleted
//	  │ the new one ──▶ .                                           3. the new file is moved
//	  ▼ removed
//
// While a file is in incoming-<time>/, the file of that name in the folder is the old one.
const (
	IncomingPartial = "incoming.partial"
	IncomingPrefix  = "incoming-"
	ReplacedPrefix  = "replaced-"
	StampLayout     = "20060102T150405.000Z"
)

// StageIncoming makes the empty folder for new files in a data folder that the caller has
// locked. The files may be keys.db, log.db, or both.
func StageIncoming(folder string) (string, error) {
	staged := filepath.Join(folder, IncomingPartial)
	if err := os.RemoveAll(staged); err != nil {
		return "", err
	}
	return staged, os.Mkdir(staged, 0o700)
}

// CommitIncoming puts the staged files, which are closed and durable, into their places. It
// returns the folder that has the old files now, "" if there were none.
func CommitIncoming(folder string, now time.Time) (aside string, err error) {
	stamp := now.UTC().Format(StampLayout)
	staged := filepath.Join(folder, IncomingPartial)
	if err := Sync(staged); err != nil {
		return "", err
	}
	if err := os.Rename(staged, filepath.Join(folder, IncomingPrefix+stamp)); err != nil {
		return "", err
	}
	if err := Sync(folder); err != nil {
		return "", err
	}
	if err := settleIncoming(folder); err != nil {
		return "", err
	}
	if aside = filepath.Join(folder, ReplacedPrefix+stamp); Missing(aside) {
		return "", nil
	}
	return aside, nil
}

// errUnsettled is returned for a folder that is to be examined and whose next start would
// replace files.
var errUnsettled = errors.New("it was interrupted, and verify changes nothing; any other command, konto serve for one, goes on with it")

// checkSettled is settleIncoming for a folder that is to be examined: it changes nothing.
// Staged files that settleIncoming would delete are no error.
func checkSettled(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if _, ok := incomingStamp(entry.Name()); ok {
			return errUnsettled
		}
	}
	return nil
}

// settleIncoming finishes what CommitIncoming began, and deletes staged files that were never
// committed. It must be called before any file of the folder is opened.
func settleIncoming(folder string) error {
	if err := os.RemoveAll(filepath.Join(folder, IncomingPartial)); err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if stamp, ok := incomingStamp(entry.Name()); ok {
			if err := settle(folder, stamp); err != nil {
				return err
			}
		}
	}
	return nil
}

// incomingStamp reads the time in a name that CommitIncoming gave. A folder with a similar
// name is not konto's, and stays.
func incomingStamp(name string) (stamp string, ok bool) {
	stamp, ok = strings.CutPrefix(name, IncomingPrefix)
	_, err := time.Parse(StampLayout, stamp)
	return stamp, ok && err == nil
}

func settle(folder, stamp string) error {
	incoming := filepath.Join(folder, IncomingPrefix+stamp)
	for _, name := range []string{"keys.db", "log.db"} {
		if Missing(filepath.Join(incoming, name)) {
			continue
		}
		if err := setAside(folder, filepath.Join(folder, ReplacedPrefix+stamp), name); err != nil {
			return err
		}
		if name == "log.db" {
			for _, made := range []string{"read.db", "read.db-wal", "read.db-shm"} {
				if err := os.RemoveAll(filepath.Join(folder, made)); err != nil {
					return err
				}
			}
		}
		if err := errors.Join(move(incoming, folder, name), Sync(folder), Sync(incoming)); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(incoming), Sync(folder))
}

// setAside moves an old file with its write-ahead log, because each is damaged without the
// other. The file itself is moved last: if it were gone and its write-ahead log were still
// there, the log would be applied to the new file.
func setAside(folder, aside, name string) error {
	if err := os.Mkdir(aside, 0o700); err != nil && Missing(aside) {
		return err
	}
	for _, suffix := range []string{"-wal", "-shm", sqlitefile.StampSuffix, ""} {
		if err := move(folder, aside, name+suffix); err != nil {
			return err
		}
	}
	if err := errors.Join(Sync(aside), Sync(folder)); err != nil {
		return err
	}
	if entries, err := os.ReadDir(aside); err != nil || len(entries) > 0 {
		return err
	}
	return os.Remove(aside)
}

// move moves a file if it is there.
func move(from, to, name string) error {
	if Missing(filepath.Join(from, name)) {
		return nil
	}
	return os.Rename(filepath.Join(from, name), filepath.Join(to, name))
}

// WhileLocked locks a data folder, finishes what was interrupted in it, and calls do.
func WhileLocked(folder, holder string, do func() error) error {
	if Missing(folder) {
		return fmt.Errorf("there is no folder %s", folder)
	}
	lock, err := Lock(folder, holder)
	var held *Locked
	if errors.As(err, &held) {
		return fmt.Errorf("%w, which must be stopped first", held)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := settleIncoming(folder); err != nil {
		return err
	}
	return do()
}
