// Package datafolder opens a data folder. It owns no server.
//
// A Folder is an open data folder with all that it always has: the lock, the keys, the log
// and its store, the read model, the store of deliveries, the list of erasures, and the
// commands over them. Whoever holds the lock has opened all of these files, and nobody
// else has opened any.
//
//   - folder.go opens and closes a folder; owner.go makes it and refuses one that another
//     user can change; lock.go locks it
//   - keys.go opens the log and the keys together, and refuses keys that are older than
//     the log; deliverystore.go opens the store of deliveries
//   - incoming.go lets a log or keys that were made elsewhere take the place of those in
//     the folder
//   - examine.go is what konto verify checks
//   - account.go finds the account that a person means
//   - erasure.go has the steps of an erasure, erasurelist.go the list of all erasures,
//     eraseagain.go applies the list when a folder is opened, erasedmessages.go deletes
//     what other systems sent of an erased account
package datafolder
