// Package mail sends the codes that confirm a change of address: the only mail
// that konto ever sends. The user hears nothing of a direct change, so what
// may be mailed is guarded twice:
//
//   - The reactor subscribes to EmailChangeRequested and nothing else (Subject).
//   - A message is only a hint. What is mailed comes from the log: the request
//     that is pending there now. One that was confirmed, cancelled, replaced or
//     has expired since is not mailed, nor one that somebody put on NATS.
//
// The way of a mail:
//
//	KONTO ──▶ nats.Subscriber, durable konto-mailer ──▶ Watermill router ──▶ Reactor.handle   reactor.go
//	      ──▶ letter: the text, in Swedish or English                                         letter.go
//	      ──▶ an SMTP server, or one .eml file per message in a folder                        smtp.go, folder.go
//
// Letters go out in the order of the stream, but for those that failed.
//
// When the SMTP server is away, or anything else concerns every letter, health shows
// the mailer as retrying, with the reason. A server that only puts off one letter is
// well.
//
// Failures are retried by JetStream, which delivers a message again after a
// delay, also to another node. Retries in Watermill's router would hold up the
// messages behind, and a queue for poisoned messages would be one more place
// with addresses in it: what can never be sent is logged by its event's id and
// dropped, and the user asks again.
//
// A domain is mailed to by its A-label, and SMTPUTF8 is asked for only when a local part
// needs it. So a relay without SMTPUTF8 takes every other code.
//
// Every mail goes out at least once. Its Message-ID, like the name of its file,
// follows from the event's id, so that a second one is known as a copy.
package mail
