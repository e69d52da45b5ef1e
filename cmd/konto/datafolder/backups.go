package datafolder

import (
	"os"
	"strings"
	"time"
)

// The files that say when a copy of log.db and of keys.db was last made, in RFC 3339. They are for
// metrics, and may be deleted.
const (
	logBackupName  = "last-log-backup"
	keysBackupName = "last-keys-backup"
)

// NoteLogBackup notes that a copy of the log was made. If that fails, the copy counts as older than
// it is.
func (f *Folder) NoteLogBackup() { f.noteBackup(logBackupName) }

// NoteKeysBackup is NoteLogBackup for a copy of the keys.
func (f *Folder) NoteKeysBackup() { f.noteBackup(keysBackupName) }

func (f *Folder) noteBackup(name string) {
	_ = os.WriteFile(f.file(name), []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o600)
}

// LastBackups returns when copies of the log and the keys were last made; the zero time if never.
func (f *Folder) LastBackups() map[string]time.Time {
	found := map[string]time.Time{}
	for of, name := range map[string]string{"log": logBackupName, "keys": keysBackupName} {
		text, _ := os.ReadFile(f.file(name))
		found[of], _ = time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	}
	return found
}
