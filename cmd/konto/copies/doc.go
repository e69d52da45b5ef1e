// Package copies makes copies of a data folder's log and keys, and puts copies into the
// place of the log and the keys. It prints nothing.
//
//   - backup.go copies the log and tries the copy; restore.go puts one into the log's place
//   - keysbackup.go and keysrestore.go do the same for keys.db; rotate.go wraps the keys
//     under another master key
//   - export.go and import.go move a log as text
//   - stage.go takes in files that are about to replace others, and checks them;
//     makefile.go makes a file that is complete or not there
//
// How a file takes the place of another is in package datafolder, because every start
// finishes what was interrupted.
package copies
