// Command konto is the server and its administration in one program.
//
// An administrative command runs in a process that has opened the data folder. Only one
// process can: if a server has it, the command is sent to the server over the folder's
// control socket and runs there.
//
//	konto serve ──opens──▶ data folder ◀── konto.sock ◀──asks── konto account, key, ...
//	                            ▲
//	                            └──opens, if no server runs── the same commands
//
// Each command is a struct that kong fills. Its Run gets the open folder and the running
// server, which is nil if there is none, and prints what an operation of package admin returns.
//
//   - main.go, cli.go and variables.go are the command line; administer.go runs a command
//     in the process that holds the folder
//   - config.go reads the values of flags from a file; completion.go and manual.go print what
//     follows from the definitions of the commands; systemd.go tells a service manager that
//     konto is ready and alive; deploy/ has the files to run konto with
//   - the other files have the commands, one file for each noun: account.go, key.go,
//     session.go, thirdparty.go, events.go; a long story has a file of its own, such as
//     accountimport.go
//   - package admin has the operations, and the HTTP API of them, /admin/v1
//   - package datafolder opens a data folder, erasure erases accounts; copies has backups,
//     restores, exports and imports; server is the running konto; control is the control
//     socket and the output; setup sets up the process
//   - imports_test.go says which package may import which
package main
