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

// How a log that was made elsewhere takes the place of the one in a data folder.
// At each step konto may be killed:
//
//	incoming.partial/        the new files are made and checked   the old log counts; this is thrown away
//	  │ sync, rename
//	incoming-<time>/         they are complete                    every start goes on from here:
//	  │ of keys.db and then log.db, if it is among them:
//	  │ the old one, its WAL ──▶ replaced-<time>/                   1. the old file goes aside
//	  │ read.db removed, for log.db                                 2. what was made of it goes
//	  │ the new one ──▶ .                                           3. the new file comes
//	  ▼ removed
//
// Step 1 is done whenever the file is in incoming-<time>/: that of the folder is the
// old one until then.
const (
	IncomingPartial = "incoming.partial"
	IncomingPrefix  = "incoming-"
	ReplacedPrefix  = "replaced-"
	StampLayout     = "20060102T150405.000Z"
)

// StageIncoming makes the empty folder for new files in a data folder that the
// caller has locked. They may be keys.db, log.db, or both.
func StageIncoming(folder string) (string, error) {
	staged := filepath.Join(folder, IncomingPartial)
	if err := os.RemoveAll(staged); err != nil {
		return "", err
	}
	return staged, os.Mkdir(staged, 0o700)
}

// CommitIncoming lets the staged files, which are closed and durable, take their
// place, and returns where the old ones are now, "" if there were none.
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

// errUnsettled refuses to examine a folder whose next start would exchange the log.
var errUnsettled = errors.New("it was interrupted, and verify changes nothing; any other command, konto serve for one, goes on with it")

// checkSettled changes nothing; what settleIncoming would throw away is no trouble.
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

// settleIncoming finishes what commitIncoming began, and removes what never came
// to it. It is called before any file of the folder is opened.
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

// incomingStamp reads the time in a name that commitIncoming gave; a folder that is
// only called alike is somebody's, and stays.
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

// setAside moves an old file out of the way, with its write-ahead log: each is
// damaged without the other. The file goes last: once it is gone, what were left of
// its log would be played into the new one.
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

// move moves a file that is there.
func move(from, to, name string) error {
	if Missing(filepath.Join(from, name)) {
		return nil
	}
	return os.Rename(filepath.Join(from, name), filepath.Join(to, name))
}

// WhileLocked calls do while a data folder is locked, and what was interrupted in it finished.
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
