// Package mail sends the codes that confirm a change of address. It is the only mail that konto sends.
// The user is not notified of a direct change, so two rules limit what is mailed:
//
//   - The reactor subscribes to EmailChangeRequested and nothing else (Subject).
//   - A message only says which account to look at. What is mailed comes from the log: the request that
//     is pending there now. A request that was confirmed, cancelled, replaced or has expired since is not
//     mailed, and neither is one that somebody else put on NATS.
//
// The way of a mail:
//
//	KONTO ──▶ nats.Subscriber, durable konto-mailer ──▶ Watermill router ──▶ Reactor.handle   reactor.go
//	      ──▶ letters: the text, from a template in the account's language                    letters.go
//	      ──▶ confirmation: the internet message                                              confirmation.go
//	      ──▶ an SMTP server, or one .eml file per message in a folder                        smtp.go, folder.go
//
// Mails are sent in the order of the stream, except those that failed before.
//
// When the SMTP server is unavailable, or anything else concerns every mail, health shows the mailer as
// retrying, with the reason. It does not if the server only defers one mail.
//
// JetStream retries failures: it delivers the message again after a delay, also to another node. Retries
// in Watermill's router would hold up the messages behind, and a queue for poisoned messages would be one
// more place with addresses in it. What can never be sent is logged by its event's id and dropped, and
// the user asks again.
//
// Mail goes to a domain by its A-label, and SMTPUTF8 is requested only if a local part needs it. So an
// SMTP server without SMTPUTF8 accepts every other mail.
//
// Every mail is sent at least once. Its Message-ID, like the name of its file, follows from the event's
// id, so that a second one is recognised as a copy.
package mail
