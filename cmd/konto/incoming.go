package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// How a log that was made elsewhere takes the place of the one in a data folder.
// At each step konto may be killed:
//
//	incoming.partial/        the new files are made and checked   the old log counts; this is thrown away
//	  │ sync, rename
//	incoming-<time>/         they are complete                    every start goes on from here:
//	  │ log.db, its WAL ──▶ replaced-<time>/                        1. the old log goes aside
//	  │ read.db removed                                             2. what was made of it goes
//	  │ keys.db, if there is one, then log.db ──▶ .                 3. the new files come, log.db last
//	  ▼ removed
//
// Step 1 is done whenever incoming-<time>/log.db is there: the log.db of the
// folder is the old one until that has moved.
const (
	incomingPartial = "incoming.partial"
	incomingPrefix  = "incoming-"
	replacedPrefix  = "replaced-"
	stampLayout     = "20060102T150405.000Z"
)

// stageIncoming makes the empty folder for new files in a data folder that the
// caller has locked.
func stageIncoming(folder string) (string, error) {
	staged := filepath.Join(folder, incomingPartial)
	if err := os.RemoveAll(staged); err != nil {
		return "", err
	}
	return staged, os.Mkdir(staged, 0o700)
}

// commitIncoming lets the staged files, which are closed and durable, take their
// place, and returns where the old log is now, "" if there was none.
func commitIncoming(folder string, now time.Time) (aside string, err error) {
	stamp := now.UTC().Format(stampLayout)
	staged := filepath.Join(folder, incomingPartial)
	if err := syncFolder(staged); err != nil {
		return "", err
	}
	if err := os.Rename(staged, filepath.Join(folder, incomingPrefix+stamp)); err != nil {
		return "", err
	}
	if err := syncFolder(folder); err != nil {
		return "", err
	}
	if err := settleIncoming(folder); err != nil {
		return "", err
	}
	if aside = filepath.Join(folder, replacedPrefix+stamp); missing(aside) {
		return "", nil
	}
	return aside, nil
}

// settleIncoming finishes what commitIncoming began, and removes what never came
// to it. It is called before any file of the folder is opened.
func settleIncoming(folder string) error {
	if err := os.RemoveAll(filepath.Join(folder, incomingPartial)); err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if stamp, ok := strings.CutPrefix(entry.Name(), incomingPrefix); ok {
			if err := settle(folder, stamp); err != nil {
				return err
			}
		}
	}
	return nil
}

func settle(folder, stamp string) error {
	incoming := filepath.Join(folder, incomingPrefix+stamp)
	if !missing(filepath.Join(incoming, "log.db")) {
		if err := setAside(folder, filepath.Join(folder, replacedPrefix+stamp)); err != nil {
			return err
		}
		for _, name := range []string{"read.db", "read.db-wal", "read.db-shm"} {
			if err := os.RemoveAll(filepath.Join(folder, name)); err != nil {
				return err
			}
		}
		for _, name := range []string{"keys.db", "log.db"} {
			if err := move(incoming, folder, name); err != nil {
				return err
			}
		}
		if err := errors.Join(syncFolder(folder), syncFolder(incoming)); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(incoming), syncFolder(folder))
}

// setAside moves the old log out of the way, with its write-ahead log: each is
// damaged without the other.
func setAside(folder, aside string) error {
	if err := os.Mkdir(aside, 0o700); err != nil && missing(aside) {
		return err
	}
	for _, name := range []string{"log.db-wal", "log.db-shm", "log.db"} {
		if err := move(folder, aside, name); err != nil {
			return err
		}
	}
	if err := errors.Join(syncFolder(aside), syncFolder(folder)); err != nil {
		return err
	}
	if entries, err := os.ReadDir(aside); err != nil || len(entries) > 0 {
		return err
	}
	return os.Remove(aside)
}

// move moves a file that is there.
func move(from, to, name string) error {
	if missing(filepath.Join(from, name)) {
		return nil
	}
	return os.Rename(filepath.Join(from, name), filepath.Join(to, name))
}
