// Package server is a running konto: it answers HTTP, publishes the log, delivers webhooks
// and mails codes. The caller opens the data folder before, and closes it afterwards.
//
//   - server.go opens everything that a Server needs, and has Running, which is what a
//     command can use of a server
//   - run.go runs a Server, reports its health, and ends it in order
//   - ready.go says whether it takes updates, and what the metrics ask for; question.go keeps its
//     questions from hanging with a disk
//   - deliveries.go and inbound.go connect the parts of package projections to the folder and
//     to package commands
//   - certificate.go reads TLS certificates again when their files change
//   - nodes.go is what a server does that shares its log with other nodes
//   - options.go has the flags of konto serve
package server
