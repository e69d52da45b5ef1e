// Package datafolder opens a data folder. It owns no server.
//
// A Folder is an open data folder with all that it always has: the lock, the keys, the log
// and its store, the read model, the store of deliveries, erasures, and the commands over
// them. Whoever holds the lock has opened all of these files, and nobody
// else has opened any.
//
//   - folder.go opens and closes a folder; owner.go makes it and refuses one that another
//     user can change; lock.go locks it
//   - keys.go opens the log and the keys together, and refuses keys that are older than
//     the log; replaceable.go opens files that konto can go on without
//   - incoming.go lets a log or keys that were made elsewhere take the place of those in
//     the folder
//   - examine.go is what konto verify checks
//   - account.go finds the account that a person means
package datafolder
