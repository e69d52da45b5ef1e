// Package control has the two ends of the control socket, over which a command is run by
// the process that holds the data folder, and what a command prints.
//
//	konto account open            konto serve
//	  Ask ──── Request ──────────▶ Socket finds the Task and runs it
//	  Output ◀── printed text, ─── Output
//	             progress, and how it ended
//
// Where to find what:
//
//   - both ends: control.go; the socket: socket.go
//   - JSON or text, escaped so that no terminal obeys it: output.go
//   - how far a command has come: progress.go
//   - HTTP until a context ends: serveuntil.go
package control
