// Package natsserver runs a NATS server with JetStream in konto's process. It is the only package that
// imports nats-server. DESIGN.md explains the decisions.
//
//   - server.go: the configuration, start and stop
//   - repair.go: checks JetStream's files before the start, and removes or moves damaged folders
//   - disk.go: raises JetStream's storage limit when space becomes free on the disk
//   - permissions.go: who may connect, and to which subjects
//   - accounts.go: a NATS account for each consumer and each sender of facts
//   - gate.go, bounds.go: checks consumers' requests to JetStream, and passes them on one by one
//
// A consumer shows its token as token, or as password with any user name. It may subscribe to
// konto.account.> and konto.replay.>, read the stream KONTO, and pull with ordered and ephemeral
// consumers and with one durable, which has its name and which nobody else can use. Push consumers are
// refused: their messages would go to a subject of konto's account.
//
//	konto's account ($G)                    a consumer's account
//	JetStream, KONTO, konto.account.>  ->   konto.account.>
//	konto.replay.>                     ->   konto.replay.>
//	pulls and acknowledgements         <-   $JS.API.CONSUMER.MSG.NEXT.KONTO.*, $JS.ACK.KONTO.>
//	gate: $JS.KONTO.NAME.>             <-   the other requests to $JS.API
//
// The token of a sender of facts lets it publish on konto.inbound.facts and subscribe to its inboxes, and
// do nothing else.
//
//	konto's account ($G)                    a sender's account
//	konto.inbound.facts.NAME           <-   konto.inbound.facts
package natsserver
