// Package nats copies the log of account events to NATS: the embedded server,
// konto's connection to it or to an outside one, and the publisher.
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
// # Consumers
//
// A consumer shows its token as token, or as password with any user name. It
// may subscribe to konto.account.> and _INBOX.>, look at the stream, and use
// ordered and ephemeral consumers and durables. A durable that bears a
// consumer's name is that consumer's alone, as are konto's own. Durables of
// other names are nobody's; consumers cannot be listed, so an ephemeral one's
// random name is its protection.
//
// A consumer's key makes a reader, not a stranger in a cage. NATS checks the
// subject of a request, not the subject that its answer is sent to, which the
// client chooses. What that leaves open in nats-server 2.15:
//
//   - A consumer can have an answer of JetStream's API stored in KONTO, at a
//     subject under konto.account. It has no ce- headers. The publisher goes on
//     behind it; a reader tells it by the missing ce-id.
//   - A consumer can have real messages of the stream delivered at another
//     subject under konto.account., where plain subscribers see them. The stream
//     refuses them, by the sequence that they name.
//   - No answer or delivery reaches the API itself, and a push consumer's
//     subject cannot lie within the stream's; tests hold both.
//
// On an outside server the permissions are its operator's; see permissions.go
// for what consumers need.
package nats
