// Package nats copies the log of account events to NATS, and takes in the facts
// that other systems send there: the embedded server, konto's connection to it or
// to an outside one, the publisher, the streams of inbound facts, and the
// subscriber of konto's own reactors.
//
// # Only a copy
//
// The log is the truth, the JetStream stream KONTO its copy. JetStream
// acknowledges a message before it is synced, the embedded server even some
// milliseconds before it is written, and after a power failure or a kill it may
// hold less than it acknowledged. So nothing here relies on an acknowledgement
// for longer than a stream can be read: deleting all of JetStream's files loses
// nothing that the stream should still hold. Inbound facts are the exception.
//
// # Order, gaps, duplicates
//
// Every message names the sequence that it must follow. When one is lost, the
// server refuses all after it, so the stream ends in a prefix of the log and
// never has a hole, and the acknowledgement of a batch's last message is one of
// the whole batch. After any failure the publisher reads the stream's end and
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
// of files. It is saved once a second and when konto stops; after a crash the
// messages beyond it tell.
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
// # Erased accounts
//
// When an account's AccountErased was published, all earlier messages of the
// account are overwritten in the stream, one by one, before the cursor moves
// (erased.go). Whenever the stream is read anew, at a start or after a failure, it
// is done again for every AccountErased that the stream holds, so a crash in
// between is made up for. Publishing again gives nothing of such an account but its
// AccountErased: its key is destroyed, and what nobody can read is not published.
//
// Dead letters and waiting facts that name the account are removed with it (Forget);
// those that come later and name its id become letters without content. Facts that were
// handled leave the files as soon as none waits: the server drops a file with nothing in it.
//
// An outside server that does not encrypt its files overwrites what is removed. The
// embedded one encrypts them and, because of that, does not: what is removed stays in
// its file, under JetStream's key, until the file goes, which is when all in it was removed
// or is too old: 7 days unless configured otherwise.
//
// # Files that cannot be read
//
// nats-server deletes a stream's folder, with its consumers, after any error while it
// opens it: no permission, a disk error, too many open files. So konto opens and reads
// the files before it starts the server (repair.prove), and writes to each folder. If
// one of that fails, konto does not start: the error names the file and the reason,
// and nothing was changed. Of the stream KONTO the blocks of messages that the server
// will not read are only opened. An error while the server runs deletes nothing:
// the server refuses what it cannot store until konto is started again.
//
// # Damaged files
//
// Some damage that a power cut leaves in JetStream's files ends the process, or
// keeps a stream's or consumer's name from being used again. Such a folder, whose
// files were read and are wrong, is removed when the server starts: the publisher fills the stream again, and a
// durable that lost its state starts over. The streams of inbound facts are no
// copy: their folders are moved to the folder damaged.
//
// # Room on the disk
//
// JetStream may take three quarters of what is free on the disk, so that the log has
// the rest. The streams of inbound facts reserve their room when they are made. If it
// is not there, their subscriber waits, health names the reason, and the stream is
// made as soon as there is room: konto looks at the disk every second and raises the
// limit, which the server by itself takes only when it starts.
//
// # Consumers
//
// A consumer shows its token as token, or as password with any user name. It
// may subscribe to konto.account.> and konto.replay.>, look at the stream, and pull with ordered
// and ephemeral consumers and with one durable, which bears its name and is its
// alone. Push consumers are refused: their messages would go to a subject of
// konto's account.
//
//	konto's account ($G)                    a consumer's account
//	JetStream, KONTO, konto.account.>  ->   konto.account.>
//	konto.replay.>                     ->   konto.replay.>
//	pulls and acknowledgements         <-   $JS.API.CONSUMER.MSG.NEXT.KONTO.*, $JS.ACK.KONTO.>
//	gate: $JS.KONTO.NAME.>             <-   the other requests to $JS.API
//
// Each consumer has an account of its own, because NATS checks the subject of a
// request, not the subject that its answer or delivery is sent to, which the
// client chooses. In an account of its own that is nobody else's subject.
//
// The gate (gate.go) gets all requests to JetStream's API but pulls, and passes them on. It
// refuses a body above 16 KiB before it reads it, and bounds every list, text, number
// and duration of a consumer's configuration (bounds.go). It asks one request of each
// consumer at a time, so that one consumer never has more than one of the server's
// few goroutines, and refuses requests when 128 of that consumer wait.
//
// When a name gets its first key, the others that are connected lose the right to it
// by mappings of their accounts (Server.Reserve). A client's permissions cannot be
// changed without ending its connection. A revoked key ends the connections that were
// made with it, and no other.
//
// What remains:
//
//   - All consumers share the bound on consumers (1000), of which one may have 50 and
//     its durable, and the server's time.
//   - Pulls go to the server as they are. A key can spend the server's time with pulls
//     that ask for heartbeats every nanosecond, until it is revoked.
//   - An ephemeral consumer's random name is its protection: who guesses it can
//     pull from it. Consumers cannot be listed.
//   - Any consumer reads the stream's state and the account's JetStream usage.
//
// # Replays
//
// History that is published once more goes to konto.replay.account.<ULID>.<Type>,
// or to a prefix of the operator's, and never to konto.account.>: KONTO expects
// each event once, in its order. Below konto.replay. every replay can have a
// prefix of its own, which consumers may hear without further rights.
//
// No stream of konto's keeps replays. Who is not subscribed, or is too slow for
// what the server holds for it (and is cut off), misses them, and the operator
// replays again, at a rate. On an outside server an operator's stream may keep
// them; then each is acknowledged.
//
// # Senders of facts
//
// A sender's token lets it publish on konto.inbound.facts and subscribe to its
// inboxes, and do nothing else.
//
//	konto's account ($G)                    a sender's account
//	konto.inbound.facts.NAME           <-   konto.inbound.facts
//
// The import writes NAME, so whoever reads the stream knows whom the message is
// from, whatever its headers say. It is the only import of the account: there is
// no subject in it that could lead to JetStream, to consumers, or to other
// senders, and the permissions say so once more.
//
// The argument about answers is the same as for consumers. A sender chooses where
// the acknowledgement goes, and no permission is checked there, but it goes to a
// subject of the sender's own account. If that is konto.inbound.facts again, it ends
// there, because a message never passes the same export twice. The export is
// one of its own, and not streamed: no account imports from both, so nobody
// can pass through one into the other, and an acknowledgement is one answer.
// Replies to $JS.ACK and _R_ subjects, which the server would not map into the
// account, it refuses to take from clients at all.
//
// KONTO_INBOUND holds what waits to be recorded: at most 2,000 messages of each
// sender and 512 MiB of all, none above 128 KiB. It refuses what comes beyond, and
// the sender is told. A message takes 3 to 6 ms to record on a disk that syncs in 2:
// three quarters of that is the log's own sync, and one at a time is what keeps the
// order across accounts and nodes. So a flood delays the others by ten seconds or so.
// KONTO_INBOUND_DEAD holds what was refused, for 7 days and to 128 MiB, then the
// oldest go. They are two streams because a stream that is full of facts must
// still have room for a dead letter: otherwise the fact that has to become one
// would hold up all others for as long as it is full.
//
// Neither is a copy. A sender is acknowledged when JetStream has the message,
// which is before it is synced (two minutes at most), so a power failure may take
// facts that were acknowledged and not recorded yet, and dead letters.
//
// What remains:
//
//   - All senders share the queue: one that floods delays the others, as above, and
//     two that flood with the longest messages fill it.
//   - A publish without a reply subject is not told of a failure.
//   - A message's headers may ask JetStream for what these streams do not offer
//     (Nats-TTL, Nats-Rollup, ...); then it is refused, and its sender told.
//
// # Outside servers
//
// Why a server cannot be reached is logged once, and again when the reason changes;
// health names it until there is a connection. Passwords and tokens of the URL are
// replaced in it.
//
// An operator may have made konto's streams before konto did. What konto needs it
// changes (subjects, retention, discard, max_age, duplicate_window, no_ack,
// subject_transform), and names what it was. Other limits are kept, such as max_msgs,
// max_bytes or deny_delete: they may drop, refuse or keep messages against konto's
// promises, so the log names them once and health as a warning. What neither drops nor
// changes a message, such as replicas or compression, is the operator's own choice. A
// stream that is a mirror, sealed, a counter, or that the server does not let konto
// change, such as a work queue, cannot be published to: the publisher says so, waits,
// and goes on when it is gone.
//
// On an outside server the rights are its operator's to give; konto's keys mean
// nothing there. docker-compose.yml has a configuration with an account for konto,
// one for consumers and one for a sender, as above; every further sender, and every
// consumer that must not hear another's inboxes, needs an account of its own. Without
// accounts, in one for all, any client may have anything answered or delivered to
// konto.inbound.facts.NAME, and hear other clients' inboxes.
//
// No configuration does what the gate does. There a consumer can create a push
// consumer that delivers events to konto.inbound.facts.NAME, in whatever name. It
// cannot write a fact so: the body is an event's, names no account and becomes a
// dead letter. But it can keep that sender's queue full, and make dead letters of
// others go early. Who cannot trust consumers that far makes their durables for
// them, and takes CONSUMER.CREATE out of their imports.
//
// There, konto.inbound.facts itself is read too, as a message of nobody in
// particular.
package nats
