// Package inbound records what other systems know of accounts: active domains, a pending order, a
// verified identity. They publish on konto.inbound.facts. Each message becomes a FactsRecorded of its
// account, or a dead letter.
//
//	sender ──▶ KONTO_INBOUND ──▶ nats.Subscriber, durable konto-inbound ──▶ Watermill router ──▶ Reactor.handle   reactor.go
//	                                                              strict JSON ──▶ Message                        message.go
//	                                                                          ──▶ Recorder: commands, through cmd
//	                                                     what was refused     ──▶ DeadLetters: KONTO_INBOUND_DEAD
//
// # Order
//
// Messages are handled one after the other, in the order of the stream, also by several nodes: an older
// fact of an account must not overwrite a newer one. If a message fails for a reason that may pass, it is
// delivered again after a delay, and all others wait behind it. Such a message never becomes a dead
// letter.
//
//	recorded, or was before       acknowledged
//	refused for good              stored as a dead letter, then acknowledged
//	failed                        delivered again, before any other
//	konto panicked                the same; after five times as if it was refused
//
// Health shows the reactor as retrying while a message fails, and as waiting while the stream cannot be
// made or read, with the reason.
//
// # Duplicates
//
// A message may be delivered again: konto was killed before it could acknowledge it, or its sender got
// no acknowledgement and sent it again. Its name is stored beside the event, in the same transaction,
// for a day. What was recorded under a name is not recorded again. The name is made of the sender's name
// and the message's id, which is ce-id (within its ce-source), or Nats-Msg-Id, or its place in the
// stream. An id that comes with another body is a mistake, and becomes a dead letter.
//
// # What a power failure can destroy
//
// JetStream acknowledges a message before it syncs it. What was recorded by then is in the log and is
// safe. What still waited (some milliseconds' worth in normal times) and dead letters of the last two
// minutes may be lost. So a sender that learns of an outage, or gets no acknowledgement, sends again what
// it sent in the minutes before, with the same ids.
package inbound
