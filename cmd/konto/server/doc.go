// Package server is a running konto: it answers HTTP, publishes the log, delivers webhooks
// and mails codes. Who starts one has opened the data folder, and closes it afterwards.
//
//   - server.go opens everything that a Server needs, and has Running, which is what a
//     command can use of a server
//   - run.go runs a Server and reports its health; shutdown.go ends it in order
//   - deliveries.go, inbound.go and sender.go connect the parts of package projections to
//     the folder and to package commands
//   - options.go, sender.go and deliveries.go have the flags
package server
