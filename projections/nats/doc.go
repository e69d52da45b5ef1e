// Package nats copies the log of account events to a NATS server, any one or the embedded one of
// konto/projections/natsserver, and reads what is there. DESIGN.md explains the decisions.
//
//	log ──▶ Publisher ──▶ stream KONTO ──▶ Subscriber ──▶ Watermill router of a reactor (mail)
//	log ──▶ Replay ─────▶ konto.replay.>
//	senders ──▶ stream KONTO_INBOUND ──▶ Subscriber ──▶ Watermill router of inbound
//	                                                    what it refused ──▶ KONTO_INBOUND_DEAD
//
// # Publisher
//
// The log is the truth, the stream KONTO its copy: to delete all of JetStream's files loses nothing that
// the stream should still hold. The publisher is one state machine. publisher.go has its steps in order,
// and what a crash does in each. It guarantees:
//
//   - Order, and no gaps: the stream holds a prefix of the log. Each message names the sequence that it
//     must follow.
//   - Duplicates only after a loss: consumers receive an event again only if the stream lost messages.
//     Its id (ce-id, Nats-Msg-Id) is then the same.
//   - Erased accounts: when an AccountErased was published, all earlier messages of the account are
//     overwritten (erased.go). What cannot be decrypted is not published.
//
// On many nodes one publishes, the one that holds a lease (PublisherConfig.Held, postgres.Cursors).
//
// Publishing continues where the stream ends. The cursor in read.db alone proves nothing, because
// JetStream may lose what it acknowledged. Cursor.resume has the table of all cases.
//
// # Subscriber
//
// A Subscriber is Watermill's, over a durable consumer. Its message carries the event: the data as
// payload, the headers as metadata. What failed is delivered again. With InOrder nothing overtakes it.
//
// # Inbound facts
//
// Inbound holds the two streams of facts. They are no copy: a power failure may destroy facts that
// JetStream acknowledged and konto has not recorded yet, and dead letters.
//
// # Clusters
//
// In a cluster of three or more outside servers each stream has three replicas (replicas.go). Conn.Serve
// shares requests among nodes.
//
// # Outages
//
// Everything here waits for NATS and continues by itself. Each reason is logged once, and again when it
// changes. Conn.Trouble, Publisher.Trouble and Subscriber.Trouble have it for health. A stream of an
// operator's that is not as konto makes it is logged once and listed by Conn.Warnings.
package nats
