// Command konto is the whole service in one program: the server and its
// administration.
//
// A house is an opened data folder. Whoever holds the lock of the folder has
// opened all of its files, and nobody else has opened any:
//
//	konto serve ──holds──▶ house ◀── konto.sock ──asks── konto account, key, session, events
//	                         ▲
//	                         └──holds, when no server does── the same commands
//
// An administrative command is a struct that kong fills and that runs against a
// house. It does not know in which of the two processes it runs.
//
//   - the command line: main.go, cli.go, variables.go, output.go
//   - the data folder: house.go, folder.go, lock.go
//   - the two ends of the control socket: control.go, administer.go, socket.go, frames.go
//   - how far a command has come, for people who wait: progress.go
//   - the server: serve.go wires it, server.go runs it, shutdown.go ends it; demo.go
//     and furnish.go are its demonstration
//   - copies: backup.go, keysbackup.go and export.go make them; restore.go and import.go
//     make a log of them, which takes its place as incoming.go shows
//   - erasure: erase.go is the command, erasing.go and erasedletters.go its steps, erasures.go
//     the ledger that erasedagain.go applies at every start
//   - one file per noun: account.go, show.go, key.go, session.go, credential.go, thirdparty.go,
//     thirdpartystate.go, inbound.go, events.go;
//     verify.go examines a folder as it is; reference.go finds the account that a person means
package main
