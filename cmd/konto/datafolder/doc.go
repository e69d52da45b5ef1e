// Package datafolder opens a data folder. It owns no server.
//
// A Folder is an open data folder: the lock, the keys, the log and its store, the read model,
// the store of deliveries, erasures, and the commands over them. The process that holds the
// lock has all of these files open, and no other process has any of them.
//
//   - folder.go opens and closes a folder; owner.go makes it and refuses one that another
//     user can change; lock.go locks it
//   - keys.go opens the log and the keys together, and refuses keys that are older than
//     the log; replaceable.go opens files that konto can go on without
//   - postgres.go opens the log and the keys of several nodes, whose folders hold a read model
//     alone, and makes a server one of the nodes
//   - incoming.go lets a log or keys that were made elsewhere take the place of those in
//     the folder
//   - examine.go is what konto verify checks
//   - account.go finds the account that an id or an email address names
package datafolder
