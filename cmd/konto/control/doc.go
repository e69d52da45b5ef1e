// Package control has the two ends of the control socket, over which a command is run by
// the process that holds the data folder, and what a command prints.
//
//		konto account open            konto serve
//		  Ask ──── Request ──────────▶ Socket finds the Task and runs it
//		  Output ◀── printed text, ─── Output
//		             progress, and how it ended
//
//	  - control.go has both ends; socket.go makes and opens the socket
//	  - output.go prints JSON or text and escapes what a terminal would obey; progress.go
//	    shows how far a command has come
//	  - serveuntil.go serves HTTP until a context ends
package control
