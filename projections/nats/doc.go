// Package nats copies the log of account events to NATS: the embedded server,
// konto's connection to it or to an outside one, the publisher, and the
// subscriber of konto's own reactors.
//
// # Only a copy
//
// The log is the truth, the JetStream stream KONTO its copy. JetStream
// acknowledges a message before it is synced, and after a power failure it may
// hold less than it acknowledged. So nothing here relies on an acknowledgement
// for longer than a stream can be read: deleting all of JetStream's files loses
// nothing that the stream should still hold.
//
// # Order, gaps, duplicates
//
// Every message names the sequence that it must follow. When one is lost, the
// server refuses all after it, so the stream ends in a prefix of the log and
// never has a hole. After any failure the publisher reads the stream's end and
// goes on from there. Consumers see an event again only when the stream lost or
// was robbed of messages; its id (ce-id, Nats-Msg-Id) is then the same.
//
// # Where publishing goes on
//
// The cursor in read.db alone proves nothing. It names a position, the stream's
// creation time and its last sequence, and is compared with the stream when the
// publisher starts, before each batch (one request) and after a failure. The
// cursor fits when the creation time is the same and the stream's last sequence
// is not below the cursor's: sequences outlive purges and ageing, not the loss
// of files.
//
//	stream                 cursor    last message is                 go on after
//	holds messages         fits      behind the cursor's sequence    the message's event
//	holds messages         fits      not, or not of this log         the cursor
//	holds messages         other     of this log                     the message's event
//	holds messages         other     not of this log                 as if the stream were empty
//	none, or empty         any       -                               the cursor, but not after the last event
//	                                                                 that is older than the retention
//	none, or empty         none      -                               0: the whole log
//
// The second row makes a purge of one account's subjects harmless: nothing is
// missed although the end of the stream is gone. A stream whose messages all
// aged out is the fifth: then no event is young enough to be published again. A
// stream that is emptied while it is younger than the retention is filled again,
// at the next event or start.
//
// # Damaged files
//
// Some damage that a power cut leaves in JetStream's files ends the process, or
// keeps a stream's or consumer's name from being used again. Such a folder is
// removed when the server starts: the publisher fills the stream again, and a
// durable that lost its state starts over.
//
// # Consumers
//
// A consumer shows its token as token, or as password with any user name. It
// may subscribe to konto.account.>, look at the stream, and pull with ordered
// and ephemeral consumers and with one durable, which bears its name and is its
// alone. Push consumers are refused: their messages would go to a subject of
// konto's account.
//
//	konto's account ($G)                    a consumer's account
//	JetStream, KONTO, konto.account.>  ->   konto.account.>
//	$JS.API..., $JS.ACK.KONTO.>        <-   the same subjects
//	gate: $JS.KONTO.CREATE.NAME.>      <-   $JS.API.CONSUMER.CREATE.KONTO.>
//
// Each consumer has an account of its own, because NATS checks the subject of a
// request, not the subject that its answer or delivery is sent to, which the
// client chooses. In an account of its own that is nobody else's subject. The
// gate reads requests to create a consumer, because who it is for and where it
// delivers stands in their body.
//
// What remains:
//
//   - All consumers share the bound on consumers (1000) and the server's time.
//     A key that makes them in a loop keeps others from making new ones, until
//     it is revoked; durables that exist go on.
//   - An ephemeral consumer's random name is its protection: who guesses it can
//     pull from it. Consumers cannot be listed.
//   - Any consumer reads the stream's state and the account's JetStream usage.
//
// On an outside server the permissions are its operator's; see permissions.go
// for what consumers need.
package nats
