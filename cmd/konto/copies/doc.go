// Package copies makes copies of a data folder's log and keys, and replaces the log and the keys
// with copies. It prints nothing.
//
//   - backup.go copies the log and checks the copy; restore.go replaces the log with one
//   - keys.go does the same for keys.db, and wraps the keys with another master key
//   - export.go and import.go move a log as text; importinto.go imports into a log and keys that
//     are no folder's, importshared.go into those that several machines share
//   - makefile.go makes a file that is complete or not there
//
// How a file takes the place of another is in package datafolder, because every start
// finishes what was interrupted.
package copies
