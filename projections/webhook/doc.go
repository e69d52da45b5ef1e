// Package webhook sends one event to one third party, once: it makes one HTTP POST and returns
// an Answer. The caller decides when, how often and in which order events are sent.
//
//	event ─▶ compose: the body, in the third party's format            message.go
//	           cloudevents   CloudEvents 1.0, structured                message.go
//	           payway        Payway's webhook format                    payway.go
//	           payway-ssi    Payway's format for subscription systems   payway.go
//	           risc          a Security Event Token                     token.go
//	      ─▶ post: the request, bounded in time and size                sender.go
//	           sign: Standard Webhooks, with every valid secret         sender.go
//	           dial: only addresses that are allowed                    client.go
//	      ─▶ Answer: verdict, status, first bytes, problem              answer.go
//
// What a third party can rely on:
//
//   - The webhook-id is the event's id, and the body is the same to the byte, however often an
//     event is sent. Only webhook-timestamp and the signatures change. A Security Event Token's
//     iat is therefore the time of the event.
//   - Payway's formats show the account right after the event, not as it is now. Events are sent
//     in order, so the next event shows the rest.
//   - No body has a code, a hash, or a URL with a code.
//
// An event that a format cannot express is Skipped, and so is one that cannot be read any more
// because its account was erased. A retry would never succeed, and the erasure, which is sent to
// every third party, would wait behind it. In Payway's formats an erasure needs the Payway id, which
// the log has only encrypted. Notices keeps it until the erasure was sent.
//
// An ErasureProof is signed with the same key as tokens. It is for those who asked for an
// erasure (token.go).
//
// Two event names are konto's, because Payway defines none: account_erased and test. In Payway's
// formats an absent customer_number or loyalty_card_number is null, any other absent
// member is "", and times with an offset are Swedish, as in Payway's own examples. A token's
// audience is the third party's name.
//
// The rule for addresses applies to the address that is dialled, after name resolution.
// Addresses that Config.Allow lists may be private, and only they may be used without TLS.
package webhook
