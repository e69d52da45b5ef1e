// Package inbound takes in what other systems know of accounts: active domains,
// a pending order, a verified identity. They publish on konto.inbound.facts, and
// each message becomes a FactsRecorded of its account, or a dead letter.
//
//	sender ──▶ KONTO_INBOUND ──▶ nats.Subscriber, durable konto-inbound ──▶ Watermill router ──▶ Reactor.handle   reactor.go
//	                                                              strict JSON ──▶ Message                        message.go
//	                                                                          ──▶ Recorder: commands, by way of cmd
//	                                                     what was refused     ──▶ DeadLetters: KONTO_INBOUND_DEAD
//
// # Order
//
// Messages are handled one after the other, as they came in, also by several
// nodes: a newer fact of an account must not be overtaken by an older one. When a
// message fails for a reason that may pass, it is tried again after a delay and
// all others wait behind it; such a message never becomes a dead letter.
//
//	recorded, or was before       acknowledged
//	refused for good              stored as a dead letter, then acknowledged
//	failed                        comes again, before any other
//	konto panicked                the same; after five times as what was refused
//
// Health shows the reactor as retrying while a message fails, and as waiting while
// the stream cannot be made or read, with the reason.
//
// # Once
//
// A message may come again, because konto was killed before it could
// acknowledge it or because its sender was told nothing and sent it again. Its name is
// kept beside the event, in the same transaction, for a day: what was recorded
// under it is not recorded again. The name is the sender's and the message's id,
// which is ce-id (within its ce-source), else Nats-Msg-Id, else its place
// in the stream. An id that comes with another body is a mistake, and a dead letter.
//
// # What is lost when
//
// A sender that was acknowledged can forget the message, but for a power failure:
// JetStream acknowledges before it syncs. What was recorded by then is in the log
// and is safe; what still waited, some milliseconds' worth in good times, and dead
// letters of the last two minutes may be gone. So a sender that hears of an
// outage, or of nothing, sends again what it sent in the minutes before, with the
// same ids.
package inbound
